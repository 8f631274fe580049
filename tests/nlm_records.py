"""Slices of NLM's own files, and the records in them that other parsers get wrong."""

import gzip
import re

# By PMID.
NOTED = {
    "baseline/pubmed20n0014": [400274, 399696, 399332, 399304, 407700, 400712, 400955],
    "updatefiles/pubmed21n1298": [
        *(30601556, 30628601, 33404422, 33183482, 34095255, 33780037, 34081846, 31808390, 34091678, 32808031),
        *(32472320, 31617889, 34085931, 31642788, 34086428, 34092911, 30271887, 17018286, 30310913, 27602157),
        *(34082697, 31719001, 32328577),
    ],
    "baseline/pubmed20n9001": [],
}


def slice_of(source, target, first, pmids):
    """The ``first`` records of an NLM file, those with ``pmids``, and its deletes, as a file of their own."""
    xml = gzip.decompress(source.read_bytes())
    start = xml.index(b"<PubmedArticle>")
    parts, place = [xml[:start]], start
    wanted = {str(pmid).encode() for pmid in pmids}
    number = 0
    while (begin := xml.find(b"<PubmedArticle>", place)) >= 0:
        place = xml.index(b"</PubmedArticle>", begin) + len(b"</PubmedArticle>")
        if number < first or (wanted and re.search(rb"<PMID[^>]*>(\d+)<", xml[begin : begin + 400])[1] in wanted):
            parts.append(xml[begin:place] + b"\n")
        number += 1
    parts.append(xml[place:])
    target.write_bytes(gzip.compress(b"".join(parts), 1))
    return target
