"""Small benchmark folders in BEIR's layout, and blocks of config.yaml for them."""

import json

BLOCK = {
    "kind": "retrieval",
    "layout": "beir",
    "url": None,
    "path": None,
    "sha256": None,
    "split": "test",
    "development": None,
    "ids": "other",
    "conclusions": False,
}


def lines(file, rows):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def beir_folder(folder, corpus, queries, qrels, split="test"):
    """``qrels``: (query, document, score) rows."""
    lines(folder / "corpus.jsonl", corpus)
    lines(folder / "queries.jsonl", queries)
    rows = ["query-id\tcorpus-id\tscore", *("\t".join(map(str, row)) for row in qrels)]
    (folder / "qrels").mkdir(exist_ok=True)
    (folder / f"qrels/{split}.tsv").write_text("\n".join(rows) + "\n")
    return folder


def simple_folder(folder, documents, queries, qrels):
    """``documents``, ``queries``: id to text."""
    return beir_folder(
        folder,
        [{"_id": name, "text": text} for name, text in documents.items()],
        [{"_id": name, "text": text} for name, text in queries.items()],
        qrels,
    )


def slice_of_beir(source, folder, queries, documents, split="test"):
    """The first ``queries`` judged rows of a BEIR folder, with as many documents, all relevant ones among them."""
    judged = [line.split("\t") for line in (source / f"qrels/{split}.tsv").read_text().splitlines()[1:]][:queries]
    wanted = {document for _, document, _ in judged}
    corpus = [json.loads(line) for line in (source / "corpus.jsonl").read_text().splitlines()]
    chosen = [row for row in corpus if row["_id"] in wanted] + [row for row in corpus if row["_id"] not in wanted]
    names = {query for query, _, _ in judged}
    asked = [row for row in map(json.loads, (source / "queries.jsonl").read_text().splitlines()) if row["_id"] in names]
    return beir_folder(folder, chosen[:documents], asked, judged, split)
