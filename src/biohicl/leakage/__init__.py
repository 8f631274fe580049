"""Leakage: training citations that are the same article as a benchmark's document, or nearly so.

Goes in: benchmarks' texts, and citations. Comes out: which citation has which text, and why. From texts to pairs:

- :mod:`~biohicl.leakage.reading`: the columns that are needed, checked.
- :mod:`~biohicl.leakage.normal`: what of a title, a text or a DOI counts when two are compared.
- :mod:`~biohicl.leakage.shingles`: texts as sets of hashed runs of five words.
- :mod:`~biohicl.leakage.criterion`: when two such sets are near duplicates.
- :mod:`~biohicl.leakage.index`: long texts that may be: an index of shingles, exact.
- :mod:`~biohicl.leakage.minhash`: short texts that may be: MinHash.
- :mod:`~biohicl.leakage.lists`: the arrays that both are made of.
- :mod:`~biohicl.leakage.benchmark_texts`: all of it, as one question about a table of citations.
"""
