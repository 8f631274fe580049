"""The built-in sample: a small copy of NLM's server, generated, the same to the byte each time.

``descriptors.tsv`` holds UI, name and tree numbers of some 300 MeSH 2024 descriptors, closed upward over the
tree (source: U.S. National Library of Medicine), with scope notes written for this project. Everything else,
every citation, word, person and number, is invented. Names carry the year 2099 and PMIDs begin with 990, so
that no file or record of the sample can pass for a real one.
"""
