"""NLM's XML at the pace of compiled parsers: every byte checked by libxml2, every value read in bulk.

Goes in: a file whose root holds one element a record. Comes out: blocks of whole records, some thousand tags
each, as arrays from which columns are cut. The rooms, from the file to the values:

- :mod:`~biohicl.nlm_xml.stream`: unpacks the file, cuts it into blocks of whole records, has libxml2 check them.
- :mod:`~biohicl.nlm_xml.plain`: brings comments, CDATA and the like into a form that the next room can index.
- :mod:`~biohicl.nlm_xml.tags`: finds the tags of a block and their parents, with numpy.
- :mod:`~biohicl.nlm_xml.values`: the text of elements and their attributes, as Arrow arrays.
- :mod:`~biohicl.nlm_xml.owners`: which row or list such values belong to.
- :mod:`~biohicl.nlm_xml.reading`: block after block, and where one is wrong, which of its records is.

Why no tree: a tree costs a Python object a visited element, and a PubMed file has three million. Why it is
exact all the same: in well-formed XML without comments, CDATA and processing instructions, "<" begins a tag and
nothing else, and where each "<" is followed by exactly one ">" before the next, that ">" ends the tag. libxml2
guarantees the first, :mod:`~biohicl.nlm_xml.plain` tests the second.
"""
