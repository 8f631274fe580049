"""A plan as a table for people, and as JSON for programs."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

from biohicl.estimate.plan import Plan, Prices, Stage
from biohicl.estimate.rates import Rate

WIDTH = 120
NOT_COUNTED = (
    "Not counted: Snakemake's own time between jobs, what is done again after a failure, and the cores beside a GPU."
)
OF_GPUS = (
    " A model larger than MiniLM takes less of a GPU's time than is said: rates are by MiniLM, which leaves it idle."
)


def plan_text(plan: Plan, prices: Prices) -> str:
    """The table, what it was computed from, and what was assumed."""
    machine = plan.machine
    rows = [_row(stage, prices) for stage in (*plan.stages, plan.total)]
    speed = "" if machine.gpu_speed == 1 or not machine.gpus else f" of {machine.gpu_speed:g} the speed"
    gpus = f"{machine.gpus} GPU{'s' if machine.gpus > 1 else ''}{speed}" if machine.gpus else "no GPU"
    lines = [
        *_table([_heads(prices), *rows]),
        "",
        f"{_duration(plan.total.hours)} on {machine.cores} cores and {gpus}, if one stage follows the other.",
    ]
    lines += textwrap.wrap(_money_words(plan, prices), WIDTH)
    lines += ["", "Measured on"]
    for kind, words in (("measured", ""), ("provisional", "provisional, "), ("assumed", "assumed, ")):
        for place, names in _by_place(rate for rate in plan.rates if rate.status == kind).items():
            lines += textwrap.wrap(
                f"{words}{place}: {', '.join(names)}", WIDTH, initial_indent="  ", subsequent_indent="    "
            )
    lines += ["", "Taken for granted"]
    for sentence in plan.assumed:
        lines += textwrap.wrap(sentence, WIDTH, initial_indent="  ", subsequent_indent="    ")
    return "\n".join([*lines, "", *textwrap.wrap(NOT_COUNTED + (OF_GPUS if machine.gpus else ""), WIDTH)])


def plan_json(plan: Plan, prices: Prices) -> dict[str, Any]:
    """The same in numbers: stages with the jobs of each rule, totals, prices, rates and assumptions."""
    return {
        "machine": {"cores": plan.machine.cores, "gpus": plan.machine.gpus, "gpu_speed": plan.machine.gpu_speed},
        "stages": [{**_figures(stage, prices), "rules": _by_rule(stage)} for stage in plan.stages],
        "total": _figures(plan.total, prices),
        "prices": {
            "currency": prices.currency,
            "core_hour": prices.core_hour,
            "gpu_hour": prices.gpu_hour,
            "gb_month": prices.gb_month,
        },
        "rates": {
            rate.name: {
                "value": rate.value,
                "unit": rate.unit,
                "status": rate.status,
                "machine": rate.machine,
                "date": rate.date,
                "command": rate.command,
            }
            for rate in plan.rates
        },
        "assumed": list(plan.assumed),
    }


def _figures(stage: Stage, prices: Prices) -> dict[str, Any]:
    figures = {
        "stage": stage.name,
        "jobs": stage.jobs,
        "downloaded_gb": stage.downloaded_gb,
        "core_hours": stage.core_hours,
        "gpu_hours": stage.gpu_hours,
        "disk_gb": stage.disk_gb,
        "hours": stage.hours,
    }
    return figures | ({"money": stage.money(prices)} if prices.are_stated else {})


def _by_rule(stage: Stage) -> dict[str, dict[str, float]]:
    rules: dict[str, dict[str, float]] = {}
    for part in stage.parts:
        rule = rules.setdefault(part.rule, {"jobs": 0, "core_seconds": 0.0, "gpu_seconds": 0.0})
        rule["jobs"] += part.jobs
        rule["core_seconds"] += part.core_seconds
        rule["gpu_seconds"] += part.gpu_seconds
    return rules


def _heads(prices: Prices) -> list[str]:
    heads = ["stage", "jobs", "GB down", "core-hours", "GPU-hours", "GB disk", "time"]
    return [*heads, prices.currency] if prices.are_stated else heads


def _row(stage: Stage, prices: Prices) -> list[str]:
    numbers = (stage.downloaded_gb, stage.core_hours, stage.gpu_hours, stage.disk_gb)
    cells = [stage.name, f"{stage.jobs:,}", *map(_number, numbers), _duration(stage.hours)]
    return [*cells, f"{stage.money(prices):,.2f}"] if prices.are_stated else cells


def _number(value: float) -> str:
    """Two figures at least; nothing is -."""
    if value == 0:
        return "-"
    if value < 0.005:
        return "<0.01"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _duration(hours: float) -> str:
    seconds = hours * 3600
    if seconds < 100:
        return f"{seconds:.0f} s"
    return (
        f"{seconds / 60:.0f} min"
        if seconds < 100 * 60
        else f"{hours:,.1f} h"
        if hours < 100
        else f"{hours / 24:,.0f} days"
    )


def _table(rows: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    rule = "-" * len(lines[0])
    return [lines[0], rule, *lines[1:-1], rule, lines[-1]]


def _money_words(plan: Plan, prices: Prices) -> str:
    if not prices.are_stated:
        return "No prices are stated: --core-hour, --gpu-hour and --gb-month state them, --currency what they are in."
    total = plan.total
    parts = (
        (total.core_hours, prices.core_hour, "core-hours", "--core-hour"),
        (total.gpu_hours, prices.gpu_hour, "GPU-hours", "--gpu-hour"),
        (total.disk_gb, prices.gb_month, "GB of disk for a month", "--gb-month"),
    )
    counted = [
        f"{_number(amount)} {what} at {price:g}" for amount, price, what, _ in parts if price is not None and amount
    ]
    without = [f"{what} ({option})" for amount, price, what, option in parts if price is None and amount]
    words = f"{total.money(prices):,.2f} {prices.currency}: {' and '.join(counted) or 'nothing'}."
    return f"{words} Without a price: {', '.join(without)}." if without else words


def _by_place(rates: Iterable[Rate]) -> Mapping[str, list[str]]:
    """Names by machine and date."""
    places: dict[str, list[str]] = {}
    for rate in rates:
        places.setdefault(f"{rate.machine}, {rate.date}", []).append(rate.name)
    return places
