"""Search over all current citations: an index in shards, one for each PubMed file, and what asks it."""
