"""The subcommands that make the search's index, and ask it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from biohicl.cli.arguments import (
    Subcommands,
    command,
    device_option,
    encoding,
    encoding_options,
    positive,
    print_json,
    project_path,
)
from biohicl.errors import BioHiCLError
from biohicl.progress import say
from biohicl.search import MODES, STORAGES

if TYPE_CHECKING:
    from biohicl.search.retriever import Retriever


def add_commands(commands: Subcommands) -> None:
    """Adds index-texts, index-vectors, index, search."""
    _add_parts(commands)
    _add_index(commands)
    _add_search(commands)


def _add_parts(commands: Subcommands) -> None:
    def texts(options: argparse.Namespace) -> None:
        from biohicl.search.texts import write_texts

        write_texts(options.articles, options.mesh_headings, options.records, options.postings)

    parser = command(
        commands,
        "index-texts",
        texts,
        "What the search shows, filters and ranks by words, of one PubMed file's records",
    )
    parser.add_argument("articles", type=Path, metavar="ARTICLES", help="articles table of the file")
    parser.add_argument("--mesh-headings", type=Path, required=True, help="its table of headings")
    parser.add_argument("--records", type=Path, required=True, metavar="FILE.arrow", help="for what is shown")
    parser.add_argument("--postings", type=Path, required=True, metavar="FILE.safetensors", help="for the rest")

    def vectors(options: argparse.Namespace) -> None:
        from biohicl.search.shards import write_shard

        write_shard(
            options.encoder, options.articles, options.output, options.storage, task=options.task, **encoding(options)
        )

    parser = command(
        commands,
        "index-vectors",
        vectors,
        "The vectors of one PubMed file's records",
        "A killed run goes on where it was; the same texts are not encoded twice.",
    )
    parser.add_argument("encoder", type=Path, metavar="ENCODER_DIR")
    parser.add_argument("articles", type=Path, metavar="ARTICLES", help="articles table of the file")
    parser.add_argument("--storage", choices=STORAGES, default="exact")
    parser.add_argument("--task", default="", help="what is asked, for instructions with a place for it")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE.safetensors")
    encoding_options(parser)


def _add_index(commands: Subcommands) -> None:
    def index(options: argparse.Namespace) -> None:
        from biohicl.cli.arguments import listed_files
        from biohicl.search.contents import write_index

        names = [file["name"] for file in listed_files(options.release)]
        write_index(
            options.model,
            options.current,
            options.release,
            [options.vectors / f"{name}.safetensors" for name in names],
            {"k1": options.bm25_k1, "b": options.bm25_b},
            options.tuned,
            options.output,
            root=options.texts,
            task=options.task,
        )

    parser = command(commands, "index", index, "Which records of the index are current, and what it consists of")
    parser.add_argument("--model", type=Path, required=True, metavar="DIR", help="the encoder of the vectors")
    parser.add_argument("--current", type=Path, required=True, help="the current records, as corpus made them")
    parser.add_argument("--release", type=Path, required=True, help="the record that list-pubmed made")
    parser.add_argument("--vectors", type=Path, required=True, metavar="DIR", help="what index-vectors made")
    parser.add_argument("--texts", type=Path, required=True, metavar="DIR", help="what index-texts made")
    parser.add_argument("--tuned", type=Path, required=True, help="how to join with BM25, as tune-hybrids made it")
    parser.add_argument("--bm25-k1", type=float, default=1.5, help="saturation of a term's frequency (default: 1.5)")
    parser.add_argument("--bm25-b", type=float, default=0.75, help="length normalisation (default: 0.75)")
    parser.add_argument("--task", default="", help="what is asked, for instructions with a place for it")
    parser.add_argument("--output", type=Path, required=True, metavar="index.safetensors")


def year_range(text: str) -> tuple[int | None, int | None]:
    """``2015``, ``2015-2020``, ``2015-`` or ``-2020``."""
    first, dash, last = text.partition("-")
    ends = [first, last if dash else first]
    if text in ("", "-") or not all(end == "" or (end.isdecimal() and len(end) <= 4) for end in ends):
        raise argparse.ArgumentTypeError(f"'{text}' is neither a year nor a range such as 2015-2020, 2015- or -2020")
    low, high = (int(end) if end else None for end in ends)
    if low is not None and high is not None and low > high:
        raise argparse.ArgumentTypeError(f"{text} is a range upside down; write {last}-{first}")
    return low, high


def index_options(parser: argparse.ArgumentParser) -> None:
    """Options that :func:`index_of` and :func:`retriever_of` read."""
    parser.add_argument(
        "--index", type=Path, metavar="DIR", help="folder of an index (default: this project's, results/index/MODEL)"
    )
    parser.add_argument("--model", type=Path, metavar="DIR", help="its model, where that lies elsewhere")
    device_option(parser)


def index_of(options: argparse.Namespace) -> Path:
    """The folder of the index that the options name: this project's where they name none."""
    from biohicl.search.contents import INDEXES, REBUILD, find_index

    if options.index is not None:
        return Path(options.index)
    return find_index(project_path(INDEXES, f"{REBUILD}, or use --index").parents[1])


def retriever_of(options: argparse.Namespace) -> Retriever:
    """The retriever that the options name."""
    from biohicl.search.retriever import Retriever

    return Retriever(index_of(options), options.model, device=options.device, threads=options.threads or 1)


def _add_search(commands: Subcommands) -> None:
    def search(options: argparse.Namespace) -> None:
        from biohicl.search.display import hits_text

        if options.like is not None and (options.query is not None or options.mode is not None):
            raise BioHiCLError("--like goes without query and --mode: what is near a citation is so by its vector")
        retriever = retriever_of(options)
        first, last = options.year
        filters = {
            "first_year": first,
            "last_year": last,
            "headings": options.heading,
            "publication_types": options.publication_type,
        }
        if options.like is not None:
            hits = retriever.similar(options.like, options.k, **filters)
        else:
            hits = retriever.search(options.query or "", options.k, mode=options.mode or "hybrid", **filters)
        if options.json:
            print_json([hit.as_json() for hit in hits])
        else:
            print(hits_text(hits, abstracts=options.abstracts, are_filtered=any(filters.values())))
        if retriever.index.is_invented:
            say("these citations are the built-in sample's: they are invented, and PubMed has none of them")

    parser = command(
        commands,
        "search",
        search,
        "Search all current citations",
        'For example: biohicl search "statins and breast cancer risk" --year 2015- --heading "Breast Neoplasms"',
    )
    parser.add_argument("query", metavar="QUERY", nargs="?", help="what is sought, in words")
    parser.add_argument("--like", type=positive, metavar="PMID", help="instead: what is near to this citation")
    parser.add_argument("-k", type=positive, default=10, help="citations shown (default: 10)")
    parser.add_argument(
        "--mode",
        choices=MODES,
        help="by the model's vectors (dense), by words (bm25), or by both (hybrid, the default)",
    )
    parser.add_argument("--year", type=year_range, default=(None, None), metavar="2015-2020", help="or 2015-, or 2015")
    parser.add_argument(
        "--heading",
        action="append",
        default=[],
        metavar="NAME",
        help="with this MeSH heading or one below it (a name, a synonym, a UI); may come several times, all are needed",
    )
    parser.add_argument(
        "--publication-type",
        action="append",
        default=[],
        metavar="NAME",
        help="such as Review; may come several times, one is enough",
    )
    parser.add_argument("--abstracts", action="store_true", help="show abstracts too")
    parser.add_argument("--json", action="store_true", help="everything, for a program")
    index_options(parser)
