"""mteb as an outside witness of retrieval and sentence-pair scores.

Goes in: a BEIR folder, or a file of sentence pairs, and the folder of a model that sentence-transformers loads. Comes
out: the scores that mteb itself computes, on the CPU in fp32; for retrieval also its values a query and its run.

mteb runs in a process of its own, since it makes its cache folder and seeds everybody's random numbers when it is
imported. That process refuses the network, and what it writes lies in a temporary folder.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

# What mteb has to know of any task; nobody reads it, and nothing is fetched from the path.
METADATA = {
    "dataset": {"path": "local", "revision": "local"},
    "description": "Local files.",
    "category": "t2t",
    "eval_langs": ["eng-Latn"],
}


def mteb_scores(
    folder: Path, model_folder: Path, split: str = "test", batch_size: int = 64, ignore_identical_ids: bool = False
) -> dict[str, Any]:
    """Retrieval: ``scores`` by mteb's names, ``per_query`` by pytrec_eval's, and ``run`` (query to document to score).

    ``scores`` has ndcg_at_k, recall_at_k, map_at_k (rounded to five digits by mteb) and mrr_at_k for k = 1, 3, 5, 10,
    20, 100, 1000, and more; ``per_query`` has ndcg_cut_k, recall_k and map_cut_k, not rounded. With
    ``ignore_identical_ids`` a document whose id is the query's is left out; only some of mteb's tasks ask for that.
    """
    return _in_own_process("retrieval", folder, model_folder, split, batch_size, ignore_identical_ids)


def mteb_sts(pairs_file: Path, model_folder: Path, batch_size: int = 64) -> dict[str, float]:
    """Sentence pairs: ``spearman`` and ``pearson`` of the model's own similarity, ``cosine_spearman`` and so on."""
    return _in_own_process("sts", pairs_file, model_folder, batch_size)


def _in_own_process(kind, data, model_folder, *settings):
    with tempfile.TemporaryDirectory(prefix="mteb-witness-") as scratch:
        places = dict.fromkeys(("TMPDIR", "HF_HOME", "MTEB_CACHE", "XDG_CACHE_HOME"), scratch)
        offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
        answer = Path(scratch) / "answer.json"
        task = [kind, str(Path(data).resolve()), str(Path(model_folder).resolve()), *settings]
        # -P: so that nothing beside this file hides a package of that name.
        command = [sys.executable, "-P", str(Path(__file__).resolve()), json.dumps(task), str(answer)]
        done = subprocess.run(command, env=os.environ | places | offline, cwd=scratch, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"mteb failed:\n{done.stderr[-6000:]}")
        return json.loads(answer.read_text())


def _refuse_network(event, _):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
        raise PermissionError(f"mteb is to work offline, but asked for {event}")


def _retrieval(folder, model_folder, split, batch_size, ignore_identical_ids):
    from datasets import Dataset
    from mteb.abstasks import AbsTaskRetrieval
    from mteb.abstasks.task_metadata import TaskMetadata

    class LocalRetrieval(AbsTaskRetrieval):
        metadata = TaskMetadata(
            name="LocalRetrieval", type="Retrieval", main_score="ndcg_at_10", eval_splits=[split], **METADATA
        )

        def load_data(self, *_, **__):
            corpus = Dataset.from_list(list(_records(folder / "corpus.jsonl", "title", "text")))
            queries = Dataset.from_list(list(_records(folder / "queries.jsonl", "text")))
            judged = _judgements(folder / "qrels" / f"{split}.tsv")
            parts = {"corpus": corpus, "queries": queries, "relevant_docs": judged, "top_ranked": None}
            self.dataset = {"default": {split: parts}}
            self.data_loaded = True

        def task_specific_scores(self, scores, qrels, results, **_):
            # mteb's hook for scores of one's own: the only place that sees the run and the values a query.
            self.seen = {"per_query": scores, "run": results}
            return {}

    task = LocalRetrieval()
    task.ignore_identical_ids = ignore_identical_ids
    return {"scores": _evaluated(task, model_folder, batch_size)} | task.seen


def _sts(pairs_file, model_folder, batch_size):
    from datasets import Dataset
    from mteb.abstasks import AbsTaskSTS
    from mteb.abstasks.task_metadata import TaskMetadata

    class LocalSTS(AbsTaskSTS):
        metadata = TaskMetadata(name="LocalSTS", type="STS", main_score="cosine_spearman", **METADATA)

        def load_data(self, *_, **__):
            pairs = [{key: pair[key] for key in ("sentence1", "sentence2", "score")} for pair in _lines(pairs_file)]
            self.dataset = {"test": Dataset.from_list(pairs)}
            self.data_loaded = True

    return _evaluated(LocalSTS(), model_folder, batch_size)


def _evaluated(task, model_folder, batch_size):
    import mteb
    import torch
    from sentence_transformers import SentenceTransformer

    # Without a dtype, the weights stay in the one they were stored in.
    model = SentenceTransformer(
        str(model_folder), device="cpu", local_files_only=True, model_kwargs={"dtype": torch.float32}
    )
    result = mteb.evaluate(
        model,
        task,
        cache=None,
        co2_tracker=False,
        show_progress_bar=False,
        encode_kwargs={"batch_size": batch_size, "show_progress_bar": False},
    )
    (scores,) = result.task_results[0].scores[task.metadata.eval_splits[0]]
    return {name: value for name, value in scores.items() if isinstance(value, float)}


def _records(file, *columns):
    for record in _lines(file):
        yield {"id": record["_id"]} | {key: record.get(key) or "" for key in columns}


def _judgements(file):
    judged: dict[str, dict[str, int]] = {}
    for query, document, grade in (line.split("\t") for line in file.read_text().split("\n")[1:] if line):
        judged.setdefault(query, {})[document] = int(grade)
    return judged


def _lines(file):
    return [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line.strip()]


if __name__ == "__main__":
    sys.addaudithook(_refuse_network)
    (_kind, _data, _model, *_settings), _answer = json.loads(sys.argv[1]), Path(sys.argv[2])
    _answer.write_text(json.dumps({"retrieval": _retrieval, "sts": _sts}[_kind](Path(_data), Path(_model), *_settings)))
