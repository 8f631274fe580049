"""Which label weighting is right: how well each tells related citations from unrelated ones."""
