"""What several workers have counted, added up to what one process would have counted.

A worker's metrics are families of samples, as Prometheus' text format has them. Counts of workers that have ended stay in the sum: without
them a counter would fall, and whoever reads it would take that for a restart and count everything once more.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Merge(StrEnum):
    """How the values of one gauge become one."""

    SUM = "sum"
    HIGHEST = "highest"
    LOWEST = "lowest"
    OWN = "own"


Labels = tuple[tuple[str, str], ...]
"""Name and value of each label, sorted."""
Key = tuple[str, Labels]
"""Name of a sample and its labels."""


@dataclass(frozen=True, slots=True)
class Family:
    """One metric of one worker.

    Attributes:
        name: without the suffixes of its samples.
        kind: Prometheus' word: counter, gauge, histogram, …
        help: its description.
        samples: value of each sample, in order.
    """

    name: str
    kind: str
    help: str
    samples: Mapping[Key, float]


Snapshot = Sequence[Family]


def added_up(
    own: Snapshot, others: Sequence[Snapshot] = (), ended: Sequence[Snapshot] = (), *, gauges: Mapping[str, str]
) -> list[Family]:
    """Merge what workers have counted.

    Args:
        own: of the worker that is asked; its order of families is kept.
        others: of the workers that serve beside it.
        ended: of workers that are gone: their counts count, what they last measured does not.
        gauges: how a gauge is merged, by its name, or by name and the value of its only label (`name:value`); otherwise it is summed.
    """
    alive = [own, *others]
    families: dict[str, list[Family]] = {}
    for family in (family for snapshot in alive for family in snapshot):
        families.setdefault(family.name, []).append(family)
    for family in (family for snapshot in ended for family in snapshot if family.kind != "gauge"):
        families.setdefault(family.name, []).append(family)
    return [_merged(found, gauges) for found in families.values()]


def _merged(found: Sequence[Family], gauges: Mapping[str, str]) -> Family:
    first = found[0]
    values: dict[Key, list[float]] = {}
    for family in found:
        for key, value in family.samples.items():
            values.setdefault(key, []).append(value)
    samples = {key: _one(_how(first, key, gauges), of) for key, of in values.items()}
    return Family(first.name, first.kind, first.help, samples)


def _how(family: Family, key: Key, gauges: Mapping[str, str]) -> Merge:
    name, labels = key
    if name.endswith("_created") and family.kind != "gauge":
        return Merge.LOWEST
    if family.kind != "gauge":
        return Merge.SUM
    if len(labels) == 1 and (how := gauges.get(f"{name}:{labels[0][1]}")) is not None:
        return Merge(how)
    return Merge(gauges.get(name, Merge.SUM))


def _one(how: Merge, values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return math.nan
    match how:
        case Merge.SUM:
            return math.fsum(known)
        case Merge.HIGHEST:
            return max(known)
        case Merge.LOWEST:
            return min(known)
        case Merge.OWN:
            return known[0]


def to_plain(snapshot: Iterable[Family]) -> list[Any]:
    """As lists, for JSON."""
    return [
        [
            family.name,
            family.kind,
            family.help,
            [[name, [list(pair) for pair in labels], value] for (name, labels), value in family.samples.items()],
        ]
        for family in snapshot
    ]


def from_plain(plain: Iterable[Any]) -> list[Family]:
    """The opposite of `to_plain`."""
    return [
        Family(
            name,
            kind,
            help_,
            {(sample, tuple((key, value) for key, value in labels)): number for sample, labels, number in samples},
        )
        for name, kind, help_, samples in plain
    ]
