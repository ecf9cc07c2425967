"""What the dashboard draws over time: counts of a minute or a quarter of an hour, how they add up, and what they say. Pure.

A slot is one such span of one tenant, or of all together: a flat set of whole numbers, so that those of several workers add up in Redis.
Durations are counted in buckets that grow by a constant factor; two histograms merge by adding, and a percentile read off them is at most
10 % off.

    deja:v1:history:{<tenant>}:<step>:<start>   hash   a slot: line -> count (`Step.seconds`, unix seconds of its beginning)
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from proxy.core.keys import PREFIX
from proxy.core.ledger import Saving, spent_of
from proxy.core.prices import usd
from proxy.core.sequences import rate_interval


@dataclass(frozen=True, slots=True)
class Step:
    """How finely time is cut.

    Attributes:
        seconds: length of a slot.
        slots: kept of them; a minute's and a quarter's together are some 900 small hashes of a tenant, about 1 MB.
    """

    seconds: int
    slots: int

    def start(self, now_s: float) -> int:
        """Where the slot of a moment begins, in unix seconds."""
        return int(now_s) // self.seconds * self.seconds


MINUTE: Final = Step(60, 180)
QUARTER: Final = Step(900, 7 * 96)
STEPS: Final = {"minute": MINUTE, "quarter": QUARTER}

FIRST_MS = 0.1
"""Upper bound of the first bucket: no answer leaves sooner."""
PER_DOUBLING = 4
"""Buckets per doubling: each is 19 % wider than the one before, and its middle is at most 9 % from what lies in it."""
BUCKETS = 84
"""The last begins at 175 s, beyond what providers take."""

_LONGEST = 2.0 ** (BUCKETS / PER_DOUBLING)  # times the first bucket; what is longer is in the last

ALL: Final = "all"
"""Stands where a tenant does for all of them together; tenants are digests in hex, or `anonymous`."""

_OUTCOME, _HIT_MS, _CALL_MS = "outcome:", "hit_ms:", "call_ms:"
_HITS = frozenset({"exact", "semantic"})


def key(tenant: str, step: Step, start: int) -> str:
    """Redis key of a slot."""
    return f"{PREFIX}history:{{{tenant}}}:{step.seconds}:{start}"


def bucket_of(duration_s: float) -> int:
    """The bucket of a duration, 0 to `BUCKETS` - 1."""
    ratio = min(duration_s * 1000 / FIRST_MS, _LONGEST)
    return 0 if ratio <= 1 else min(BUCKETS - 1, math.ceil(PER_DOUBLING * math.log2(ratio)))


def middle_ms(bucket: int) -> float:
    """What stands for a bucket's durations: the geometric middle, in milliseconds."""
    return FIRST_MS * math.exp2((bucket - 0.5) / PER_DOUBLING)


def answered(outcome: str, bucket: int) -> tuple[str, str]:
    """The lines of one answered request.

    Args:
        outcome: its label, as metrics name it.
        bucket: how long it took, by `bucket_of`.
    """
    return f"{_OUTCOME}{outcome}", f"{_HIT_MS if outcome in _HITS else _CALL_MS}{bucket}"


def money(counts: Mapping[str, int]) -> dict[str, int]:
    """The lines of what the ledger has booked, in pico-USD; empty where no money was in it."""
    lines = {"spent": spent_of(counts), "saved": sum(counts.get(f"saved_{kind}", 0) for kind in Saving)}
    return {line: amount for line, amount in lines.items() if amount}


def quantile_ms(buckets: Mapping[int, int], share: float) -> float | None:
    """The duration that this share of requests stay below; None without any."""
    total = sum(buckets.values())
    if not total:
        return None
    below, wanted = 0, share * total
    for bucket in sorted(buckets):
        below += buckets[bucket]
        if below >= wanted:
            break
    return round(middle_ms(bucket), 3)


def series(slots: Sequence[tuple[int, Mapping[str, int]]]) -> list[dict[str, Any]]:
    """Slots as the API tells them, oldest first.

    The wrong-hit rate of a slot is that of all audits from the first slot to this one: a single minute has too few to say anything.
    """
    told, judged, wrong, rate = [], 0, 0, None
    for start, counts in slots:
        new = counts.get("right", 0) + counts.get("wrong", 0)
        if new:
            judged, wrong = judged + new, wrong + counts.get("wrong", 0)
            rate = _wrong_hit_rate(wrong, judged)
        told.append({"at": start, **_told(counts), "wrong_hit_rate": rate})
    return told


def total(slots: Iterable[Mapping[str, int]]) -> dict[str, Any]:
    """All slots together, as the API tells them."""
    return _told(_added(slots))


def summary(slots: Iterable[Mapping[str, int]]) -> dict[str, Any]:
    """The same with the wrong-hit rate of all their audits, None without any."""
    added = _added(slots)
    judged = added["right"] + added["wrong"]
    return {**_told(added), "wrong_hit_rate": _wrong_hit_rate(added["wrong"], judged) if judged else None}


def _added(slots: Iterable[Mapping[str, int]]) -> Counter[str]:
    added: Counter[str] = Counter()
    for counts in slots:
        added.update(counts)
    return added


def _wrong_hit_rate(wrong: int, judged: int) -> dict[str, float]:
    interval = rate_interval(wrong, judged)
    return {"estimate": round(wrong / judged, 4), "low": round(interval.low, 4), "high": round(interval.high, 4)}


def _told(counts: Mapping[str, int]) -> dict[str, Any]:
    return {
        "requests": {line.removeprefix(_OUTCOME): n for line, n in sorted(counts.items()) if line.startswith(_OUTCOME)},
        "hits_ms": _percentiles(counts, _HIT_MS),
        "calls_ms": _percentiles(counts, _CALL_MS),
        "saved_usd": usd(counts.get("saved", 0)),
        "spent_usd": usd(counts.get("spent", 0)),
        "audits": {verdict: counts.get(verdict, 0) for verdict in ("right", "wrong")},
        "votes": {verdict: counts.get(f"vote_{verdict}", 0) for verdict in ("right", "wrong")},
    }


def _percentiles(counts: Mapping[str, int], prefix: str) -> dict[str, float | None]:
    buckets = {int(line.removeprefix(prefix)): n for line, n in counts.items() if line.startswith(prefix)}
    return {f"p{percent}": quantile_ms(buckets, percent / 100) for percent in (50, 95, 99)}
