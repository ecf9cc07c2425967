"""What audits of one namespace (or of a pool of them) have found: counts that add up across workers and processes.

A tally is a flat set of non-negative integers, so that a store may keep it as one hash and add to its fields one by one
(`increments`). Reading it back gives all that `core.budget` needs; no request, text or time is in it.

*Hit audits* re-ask a served hit upstream and judge the stored answer against the fresh one. *Shadow audits* do the same for a
candidate that was below the level and so was forwarded anyway: the fresh answer costs nothing. Whether one happens is drawn before
its outcome is known; the chance may differ from hit to hit, since steering compares within bins of equal confidence. For the interval
that is shown, only hits drawn at one common share count (`is_counted`), or else doubtful hits would weigh more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from proxy.core.confidence import BIN_COUNT, bin_of
from proxy.core.sequences import Interval, JudgeError, rate_interval

Counts = tuple[int, ...]
"""(BIN_COUNT,), one number for each bin of confidence."""

NONE: Counts = (0,) * BIN_COUNT

_BINNED = ("seen", "right", "wrong", "shadow_right", "shadow_wrong")
_PLAIN = ("counted", "counted_wrong")


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts since the beginning; the difference of two is what came between.

    Attributes:
        seen: candidates judged best of their request, by confidence, hits or not, audited or not.
        right, wrong: audited hits by the judge's verdict.
        shadow_right, shadow_wrong: audited candidates that were not served.
        counted: audited hits that count for the interval shown.
        counted_wrong: of them, those called wrong.
    """

    seen: Counts = NONE
    right: Counts = NONE
    wrong: Counts = NONE
    shadow_right: Counts = NONE
    shadow_wrong: Counts = NONE
    counted: int = 0
    counted_wrong: int = 0

    def __add__(self, other: Tally) -> Tally:
        return self._with(other, int.__add__)

    def __sub__(self, earlier: Tally) -> Tally:
        """What came after `earlier`; a count that a store lost reads as nothing new, not as less than nothing."""
        return self._with(earlier, lambda now, then: max(0, now - then))

    def _with(self, other: Tally, join: Callable[[int, int], int]) -> Tally:
        binned = {name: tuple(map(join, getattr(self, name), getattr(other, name))) for name in _BINNED}
        plain = {name: join(getattr(self, name), getattr(other, name)) for name in _PLAIN}
        return Tally(**binned, **plain)  # type: ignore[arg-type]

    @property
    def audited(self) -> int:
        """Hits that were judged."""
        return sum(self.right) + sum(self.wrong)

    @property
    def audited_wrong(self) -> int:
        """Of them, those called wrong."""
        return sum(self.wrong)

    @property
    def shadowed(self) -> int:
        """Candidates below the level that were judged."""
        return sum(self.shadow_right) + sum(self.shadow_wrong)

    def interval(self, judge: JudgeError | None = None) -> Interval:
        """Bound the wrong-hit rate: the mean chance that a counted hit is wrong, over all of them, with 95 % confidence at every look.

        It presumes that whether a hit is counted does not depend on its answer, and that an audit which came to no verdict
        (upstream failed) is no likelier for wrong answers. Rates may drift meanwhile; the interval is for their mean.

        Args:
            judge: the judge's measured error; None for one that is never mistaken.
        """
        return (judge or JudgeError()).corrected(rate_interval(self.counted_wrong, self.counted))

    def as_fields(self) -> dict[str, int]:
        """Field -> count, zeros left out: "seen:17", "wrong:20", "counted"."""
        binned = {f"{name}:{i}": n for name in _BINNED for i, n in enumerate(getattr(self, name)) if n}
        return binned | {name: getattr(self, name) for name in _PLAIN if getattr(self, name)}

    @classmethod
    def from_fields(cls, fields: Mapping[str, int]) -> Tally:
        """Read what `as_fields` wrote, or increments added up.

        Raises:
            ValueError: an unknown field or a negative count.
        """
        binned = {name: [0] * BIN_COUNT for name in _BINNED}
        plain = dict.fromkeys(_PLAIN, 0)
        for field, count in fields.items():
            name, _, place = field.partition(":")
            if count < 0:
                raise ValueError(f"tally: {field!r} is negative; counts only grow")
            if name in plain and not place:
                plain[name] = int(count)
            elif name in binned and place.isdecimal() and int(place) < BIN_COUNT:
                binned[name][int(place)] = int(count)
            else:
                raise ValueError(f"tally: the field {field!r} is unknown; it was written by another version")
        return cls(**{name: tuple(counts) for name, counts in binned.items()}, **plain)  # type: ignore[arg-type]


Kind = Literal["seen", "hit", "shadow"]


def increments(kind: Kind, confidence: float, *, is_wrong: bool = False, is_counted: bool = True) -> dict[str, int]:
    """Give the fields of a tally to raise, and by how much.

    Args:
        kind: "seen" once for every best candidate judged; "hit" and "shadow" for each audit that came to a verdict.
        confidence: the candidate's, in [0, 1].
        is_wrong: the judge's verdict.
        is_counted: of a hit audit: it was drawn at the base share (`is_counted` below).
    """
    place = bin_of(confidence)
    if kind == "seen":
        return {f"seen:{place}": 1}
    verdict = "wrong" if is_wrong else "right"
    if kind == "shadow":
        return {f"shadow_{verdict}:{place}": 1}
    fields = {f"{verdict}:{place}": 1}
    if is_counted:
        fields |= {"counted": 1} | ({"counted_wrong": 1} if is_wrong else {})
    return fields


def is_counted(draw: float, base_share: float) -> bool:
    """Whether an audited hit counts for the interval that is shown.

    Args:
        draw: the uniform number in [0, 1) that chose the hit for audit because it lay below the share in force.
        base_share: the lowest share ever in force; a hit would have been chosen at that share, too.
    """
    return draw < base_share


def total(tallies: Iterable[Tally]) -> Tally:
    """Add up tallies; an empty one for none."""
    return sum(tallies, Tally())
