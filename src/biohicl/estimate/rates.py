"""How fast this code is: what was measured, where, when and how.

Goes in: rates.yaml, or a file like it. Comes out: :class:`Rates`, which remembers what was asked of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from biohicl.errors import BioHiCLError

RATES = Path(__file__).with_name("rates.yaml")
Status = Literal["measured", "provisional", "assumed"]
# What each rate says of itself, beside its value.
SAID = ("unit", "status", "machine", "date", "command")
# What formulas need to know beside a value (work.py).
MEASURED_WITH = {
    "train_cpu_128": ("cores", "weights", "tokens"),
    "train_cpu_256": ("cores", "weights", "tokens"),
    "train_gpu_128": ("weights", "tokens"),
    "train_gpu_256": ("weights", "tokens"),
    "encode_cpu": ("cores", "weights", "tokens"),
    "encode_gpu_small": ("weights",),
    "encode_gpu_base": ("weights",),
}


@dataclass(frozen=True)
class Rate:
    """One measurement, or what stands for it. Measured with ``cores``, ``weights`` (in 10^6) and ``tokens`` a text."""

    name: str
    value: float
    unit: str
    status: Status
    machine: str
    date: str
    command: str
    cores: float = 1.0
    weights: float = 0.0
    tokens: float = 0.0


class Rates:
    """Rates by name. ``used``: those that were asked for so far."""

    def __init__(self, rates: Mapping[str, Rate]):
        self._rates = dict(rates)
        self.used: dict[str, Rate] = {}

    def __getitem__(self, name: str) -> float:
        return self.rate(name).value

    def rate(self, name: str) -> Rate:
        """All of a rate."""
        self.used[name] = self._rates[name]
        return self._rates[name]

    def names(self) -> list[str]:
        return list(self._rates)


def read_rates(file: Path = RATES) -> Rates:
    """The rates of a file, which has to have all that rates.yaml has, and no other; else an error that names one."""
    content = _content_of(file)
    known = list(_content_of(RATES)) if file != RATES else list(content)
    for name in known:
        if name not in content:
            raise BioHiCLError(f"{file}: has no rate '{name}'; copy what is missing from {RATES}")
    for name in content:
        if name not in known:
            near = get_close_matches(str(name), known, n=1)
            raise BioHiCLError(f"{file}: no rate is called '{name}'" + (f"; did you mean {near[0]}?" if near else ""))
    rates = {name: _rate_of(name, content[name], file) for name in known}
    _check_gpu(rates, file)
    return Rates(rates)


def _content_of(file: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BioHiCLError(f"{file}: no such file of rates") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BioHiCLError(f"{file}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise BioHiCLError(f"{file}: a mapping of names to rates is needed, as in {RATES}")
    return content


def _rate_of(name: str, block: Any, file: Path) -> Rate:
    needed = MEASURED_WITH.get(name, ())
    if not isinstance(block, dict):
        raise BioHiCLError(f"{file}: {name}: a mapping with value, {', '.join(SAID)} is needed")
    for key in ("value", *SAID, *needed):
        if key not in block:
            raise BioHiCLError(f"{file}: {name}: does not say its {key}")
    numbers = {key: _number(block[key], f"{file}: {name}: {key}") for key in ("value", *needed)}
    said = {key: str(block[key]).strip() for key in SAID}
    if said["status"] not in get_args(Status):
        raise BioHiCLError(f"{file}: {name}: status is '{said['status']}', and has to be {', '.join(get_args(Status))}")
    return Rate(name, **numbers, **said)  # type: ignore[arg-type]


def _number(value: Any, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise BioHiCLError(f"{what} is {value!r}, and has to be a number above 0")
    return float(value)


def _check_gpu(rates: Mapping[str, Rate], file: Path) -> None:
    """Two models and a start tell what a text and what its computing takes only where they differ."""
    start, small, base = (rates[name] for name in ("gpu_start", "encode_gpu_small", "encode_gpu_base"))
    if not start.value < small.value < base.value or not small.weights < base.weights:
        raise BioHiCLError(
            f"{file}: gpu_start, encode_gpu_small and encode_gpu_base have to rise, and the weights of the last two too"
        )
