"""What comes from outside: listings of NLM's server, and files brought here whole and verified."""
