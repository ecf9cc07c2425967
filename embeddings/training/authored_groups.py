"""Groups of questions written for this recipe: wordings that one answer serves, and near misses that it does not.

The text lies beside this module, one JSON object a line:
`{"topic": ..., "same": [wording, ...], "near": [[kind of difference, question], ...]}`. A language model wrote it; it is ours, free of
the licences that bind the research data, and part of this repository. Files named `…_later` hold what was written since verifier-v5:
wordings further apart, nearer misses.
"""

from __future__ import annotations

import itertools
import json
import random
from dataclasses import dataclass
from pathlib import Path

from embeddings.training.pairs import Pair, share

FOLLOW_UPS = ("turns", "turns_later", "rewordings_followups")
"""Files whose groups make sense only after something was said."""
STATEMENTS = "orders"
"""The file whose groups turn on the order of their words; half of them are statements, which nobody asks."""
ASIDE_SHARE = 0.15
"""Of the groups, kept aside for measuring."""
_DIFFERENT_PER_SAME = 1.2
"""In training. A group can be crossed into three different pairs for each same one; taught so, the model takes questions that look
written like these for different ones."""
_NEAR_PARTNERS = 3  # in measuring: wordings that a near miss is set against
_NEAR_NEAR = 3  # in measuring: pairs of near misses taken from a group


@dataclass(frozen=True, slots=True)
class Group:
    """One question in several wordings, and what it is easily taken for.

    Args:
        field: the file it stands in, such as "medical".
        same: wordings of the question.
        near: (kind of difference, question) of the near misses.
    """

    field: str
    same: tuple[str, ...]
    near: tuple[tuple[str, str], ...]

    @property
    def is_aside(self) -> bool:
        """Whether it is kept aside for measuring."""
        return share(f"authored {self.same[0]}") < ASIDE_SHARE


def is_follow_up(kind: str) -> bool:
    """Whether pairs of this kind are later turns of a conversation."""
    source, _, field = kind.partition(" ")[0].partition("/")
    return source == "authored" and field in FOLLOW_UPS


def groups() -> list[Group]:
    """Read all groups, file by file."""
    found = []
    for path in sorted((Path(__file__).parent / "authored").glob("*.jsonl")):
        for line in path.read_text("utf-8").splitlines():
            row = json.loads(line)
            found.append(Group(path.stem, tuple(row["same"]), tuple((kind, text) for kind, text in row["near"])))
    return found


def pairs() -> tuple[list[Pair], list[Pair]]:
    """Give the pairs for training, and those kept aside; the kind is "authored/<field> same" or "authored/<field> <difference>"."""
    rng = random.Random(0)  # noqa: S311  (repeatable, not secret)
    kept: list[Pair] = []
    aside: list[Pair] = []
    for group in groups():
        same = [
            Pair(one, other, True, f"authored/{group.field} same")
            for one, other in itertools.combinations(group.same, 2)
        ]
        if group.is_aside:
            aside += same + _different(group, rng, _NEAR_PARTNERS, _NEAR_NEAR)
        else:
            crossed = _different(group, rng, len(group.same), len(group.near))
            kept += same + rng.sample(crossed, min(round(_DIFFERENT_PER_SAME * len(same)), len(crossed)))
    measured = {text.casefold() for pair in aside for text in (pair.stored, pair.asked)}
    # A short question may stand in two groups, one on either side.
    return [pair for pair in kept if measured.isdisjoint((pair.stored.casefold(), pair.asked.casefold()))], aside


def _different(group: Group, rng: random.Random, partners: int, crossings: int) -> list[Pair]:
    """Set near misses against wordings and against one another."""
    made = []
    for kind, text in group.near:
        wordings = rng.sample(group.same, min(partners, len(group.same)))
        made += [Pair(wording, text, False, f"authored/{group.field} {kind}") for wording in wordings]
    crossed = list(itertools.combinations(group.near, 2))
    for (_, first), (kind, second) in rng.sample(crossed, min(crossings, len(crossed))):
        made.append(Pair(first, second, False, f"authored/{group.field} {kind}"))
    return made
