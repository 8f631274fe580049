"""``biohicl make-sample DIR``: everything that the demonstration and the tests fetch.

::

    DIR/pubmed/{baseline,updatefiles}/pubmed99n000?.xml.gz and .md5     DIR/mesh/desc2099.gz
    DIR/benchmarks/sample-retrieval/   DIR/benchmarks/sample-pairs/     DIR/backbone/     DIR/screening/labels.tsv
"""

from __future__ import annotations

from pathlib import Path

from biohicl.progress import say
from biohicl.sample.backbone import write_backbone
from biohicl.sample.benchmarks import write_retrieval, write_similarity
from biohicl.sample.citations import FIRST_PMID, Citation, citation_set_xml
from biohicl.sample.files import write_gzip, write_md5
from biohicl.sample.mesh import YEAR, descriptor_xml
from biohicl.sample.screening import write_screening
from biohicl.sample.world import World
from biohicl.storage import whole_directory

FILE_CITATIONS = 950


def make_sample(directory: Path) -> None:
    """Writes the sample, whole or not at all; what the folder held before is replaced."""
    from biohicl.errors import BioHiCLError

    if directory.exists() and (
        not directory.is_dir() or (any(directory.iterdir()) and not (directory / "mesh").is_dir())
    ):
        raise BioHiCLError(f"{directory}: is there already and holds no sample; name another folder")
    world = World()
    with whole_directory(directory) as folder:
        write_gzip(folder / "mesh" / f"desc{YEAR}.gz", descriptor_xml(world.descriptors.values()))
        texts = []
        for kind, name, citations, deleted in _files():
            xml = citation_set_xml(world, citations, deleted)
            path = folder / "pubmed" / kind / f"{name}.xml.gz"
            write_gzip(path, xml)
            write_md5(path)
            if kind == "baseline":
                texts.append(xml)
        write_retrieval(world, folder / "benchmarks" / "sample-retrieval")
        write_similarity(world, folder / "benchmarks" / "sample-pairs")
        write_screening(world, range(FIRST_PMID, FIRST_PMID + 2 * FILE_CITATIONS), folder / "screening" / "labels.tsv")
        write_backbone(_sentences(texts), folder / "backbone")
    say(f"{directory}: a small copy of NLM's server, two benchmarks, screening decisions and a backbone")


def _files() -> list[tuple[str, str, list[Citation], list[int]]]:
    """Two baseline files and one update: (folder, name, records, deleted PMIDs)."""
    first = [Citation(FIRST_PMID + number) for number in range(FILE_CITATIONS)]
    second = [Citation(FIRST_PMID + FILE_CITATIONS + number) for number in range(FILE_CITATIONS)]
    # Some PMIDs have two versions side by side in one file.
    second += [Citation(citation.pmid, version=2) for citation in second[10:20]]
    second.sort(key=lambda citation: (citation.pmid, citation.version))
    new = [Citation(FIRST_PMID + 2 * FILE_CITATIONS + number) for number in range(100)]
    revised = [Citation(citation.pmid, rewrite=1) for citation in first[100:130]]
    newer_version = [Citation(citation.pmid, version=2, rewrite=1) for citation in first[200:210]]
    # An older version than the baseline has, and twice in this file: the later file wins, and in it the later record.
    older_again = [Citation(FIRST_PMID + FILE_CITATIONS + 10, version=1, rewrite=number) for number in (1, 2)]
    update = sorted([*new, *revised, *newer_version, *older_again], key=lambda citation: citation.pmid)
    deleted = [citation.pmid for citation in first[300:310]] + [FIRST_PMID + 5_000]
    return [
        ("baseline", "pubmed99n0001", first, []),
        ("baseline", "pubmed99n0002", second, []),
        ("updatefiles", "pubmed99n0003", update, deleted),
    ]


def _sentences(xml_files: list[str]) -> list[str]:
    """The titles and abstracts in these files, for the backbone's vocabulary."""
    from lxml import etree

    texts = []
    for xml in xml_files:
        root = etree.fromstring(
            xml.encode("utf-8"), etree.XMLParser(load_dtd=False, no_network=True, resolve_entities=False)
        )
        texts += [
            " ".join("".join(element.itertext()).split()) for element in root.iter("ArticleTitle", "AbstractText")
        ]
    return texts
