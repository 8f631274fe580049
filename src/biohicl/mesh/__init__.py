"""MeSH: descriptors from NLM's XML, their hierarchy, and what it says about two sets of labels."""
