"""What subcommands are made of: argument types that refuse bad input in words, and options of several of them."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

from biohicl.encoder.folder import PRECISIONS
from biohicl.errors import BioHiCLError

Command = Callable[[argparse.Namespace], None]
Subcommands: TypeAlias = "argparse._SubParsersAction[Parser]"
# As many words to choose from as an error still lists.
CHOICES_SHOWN = 8


class Parser(argparse.ArgumentParser):
    """Guesses what a misspelt word was to be, and does not answer it with a list of everything."""

    of_commands: dict[str, Parser]

    def error(self, message: str) -> NoReturn:
        """Ends the program, as argparse does."""
        found = re.fullmatch(r"(.*): invalid choice: '(.*)' \(choose from (.*)\)", message, re.DOTALL)
        known = found[3].replace("'", "").split(", ") if found else []
        if found and len(known) > CHOICES_SHOWN:
            near = get_close_matches(found[2], known, n=3)
            guess = f"did you mean {' or '.join(near)}?" if near else f"{self.prog} --help lists them"
            message = f"{found[1]}: there is no '{found[2]}'; {guess}"
        super().error(message)

    def refuse(self, unknown: Sequence[str]) -> NoReturn:
        """An error that names words which this parser has no place for, and options that are near."""
        known = [name for action in self._actions for name in action.option_strings]
        near = [close for word in unknown for close in get_close_matches(word.partition("=")[0], known, n=1)]
        before = " (--threads stands before the command)" if "--threads" in unknown else ""
        guess = f"; did you mean {' or '.join(near)}?" if near and not before else ""
        self.error(f"nothing is known of {' '.join(unknown)}{before}{guess}")


def positive(text: str) -> int:
    """A whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number of at least 1")
    return int(text)


def minutes(text: str) -> float:
    """A number of at least 0."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of at least 0")
    return value


def share(text: str) -> float:
    """A number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number from 0 to 1")
    return value


def settings(text: str) -> Any:
    """JSON text, or the path of a YAML or JSON file."""
    import yaml

    try:
        content = text if text.lstrip().startswith(("{", "[")) else Path(text).read_text(encoding="utf-8")
        # JSON first: YAML reads its 5e-05 as text.
        value = json.loads(content) if content.lstrip().startswith(("{", "[")) else yaml.safe_load(content)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise argparse.ArgumentTypeError(f"neither JSON nor a readable file: {error}") from None
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError("a mapping of keys to values is needed")
    return SettingsBlock.of(value)


class SettingsBlock(dict[str, Any]):
    """A block of config.yaml given by hand; a key that a stage asks for and that is not there is an error in words."""

    @classmethod
    def of(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return cls({key: cls.of(part) for key, part in value.items()})
        return value

    def __missing__(self, key: str) -> Any:
        raise BioHiCLError(f"--settings has no '{key}'; it takes a whole block of config.yaml, defaults included")


class Places(argparse.Action):
    """Several places, or one JSON list of them, as the workflow passes it."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: Any = None) -> None:
        places = values
        if len(values) == 1 and values[0].startswith("["):
            try:
                places = json.loads(values[0])
            except ValueError as error:
                parser.error(f"{option_string}: not a JSON list: {error}")
        if not places or not all(isinstance(place, str) for place in places):
            parser.error(f"{option_string}: at least one place is needed, each as text")
        setattr(namespace, self.dest, places)


def numbers(text: str) -> str | list[int | str]:
    """``all``, ``none``, or file numbers and ranges such as ``1,7,20-29``, as config.yaml has them."""
    if text in ("all", "none"):
        return text
    parts: list[int | str] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            raise argparse.ArgumentTypeError(f"'{part}' is neither a number nor a range such as 20-29")
        if dash and int(first) > int(last):
            raise argparse.ArgumentTypeError(f"{part} is a range upside down; write {last}-{first}")
        parts.append(part if dash else int(part))
    return parts


def command(commands: Subcommands, name: str, run: Command, summary: str, detail: str = "") -> Parser:
    """A new subcommand that calls ``run``; ``--help`` shows ``summary`` in the list, and ``detail`` with its own."""
    parser: Parser = commands.add_parser(name, help=summary, description=f"{summary}. {detail}".strip())
    parser.set_defaults(run=run)
    return parser


def device_option(parser: argparse.ArgumentParser) -> None:
    """``--device``."""
    parser.add_argument("--device", default="auto", help="auto (a GPU where there is one), cpu, or cuda")


def encoding_options(parser: argparse.ArgumentParser) -> None:
    """``--batch-size``, ``--precision`` and ``--device``, which :func:`encoding` gives on."""
    parser.add_argument("--batch-size", type=positive, default=64, help="texts encoded at a time (default: 64)")
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        help="what weights of 32 bits compute in (default: bfloat16 on a GPU, else float32)",
    )
    device_option(parser)


def encoding(options: argparse.Namespace) -> dict[str, Any]:
    """How texts are encoded, by name of the argument."""
    return {name: getattr(options, name) for name in ("batch_size", "device", "precision")}


def listed_files(record: Path) -> list[dict[str, Any]]:
    """The files that list-pubmed recorded, each with name, kind, year and number."""
    from biohicl.storage import read_json

    content = read_json(record)
    if not isinstance(content, dict) or "files" not in content:
        raise BioHiCLError(f"{record}: lists no files; it has to be the record that list-pubmed made")
    return list(content["files"])


def project_path(path: Path, how: str) -> Path:
    """``path`` in the project that the working folder lies in, else in the one this package is installed from.

    An error, with ``how`` it is made, where neither has it.
    """
    here = Path.cwd()
    for folder in (here, *here.parents, Path(__file__).resolve().parents[3]):
        if (folder / path).exists():
            return folder / path
    raise BioHiCLError(f"no {path} in this folder or above; make it with: {how}")


def print_json(value: Any) -> None:
    """Indented, on standard output; where its encoding lacks a character, with all beyond ASCII as escapes."""
    text = json.dumps(value, ensure_ascii=False, indent=2)
    try:
        # None where standard output is closed.
        text.encode(getattr(sys.stdout, "encoding", "utf-8"))
    except UnicodeEncodeError:
        text = json.dumps(value, indent=2)
    print(text)


def limit_threads(threads: int | None) -> None:
    """Before the libraries are loaded, since they read these once. Polars ignores OMP_NUM_THREADS.

    None keeps to OMP_NUM_THREADS where it is set: Snakemake gives it to its jobs.
    """
    given = os.environ.get("OMP_NUM_THREADS", "")
    if threads is None and given.isdigit():
        threads = int(given) or None
    if threads is not None:
        for variable in ("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            os.environ[variable] = str(threads)
        os.environ["RAYON_NUM_THREADS"] = str(threads)  # tokenizers
