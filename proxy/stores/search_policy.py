"""How the vector index is asked, so that a look-up stays cheap whatever else the index holds. No Redis here; decision 0016 has the numbers.

RediSearch answers KNN within a TAG in one of two ways: it compares every vector that bears the tag (exact, some 0.1 us each), or it walks
the graph in batches, nearest first, until enough of what it met bears the tag. Its own choice between them is wrong at both ends: with
fewer than some 40,000 entries it compares all, be there one partition or ten thousand; with a million it walks for partitions of a
few thousand, which the walk hardly meets. So we find out on which side of the crossing a partition lies, and say so.

One thing is left to it: walking in a large index. A walk among questions of which hardly any are the partition's goes on and on, and
its own choice turns back from some of those; the others end at the time limit.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable

OWN_CHOICE_FROM = 40_000
"""Entries in the index from which RediSearch walks by itself (2.10.5, M 16 and 32: compares all at 30,000, walks at 40,000)."""
CROSSING_LEAST, CROSSING_SLOPE = 3_000, 15.0
"""A walk is cheaper than comparing all in partitions of more entries than the square root of the index' times this: they cross at about
3,000 of 10,000 entries, 6,000 of 100,000, and 15,000 of 1,000,000, where either takes 0.4, 0.6 and 1.5 ms."""
KNOWN_FOR_S = 60.0
"""A partition grows by what is stored and shrinks by a flush; either is noticed after this. Finding out costs Redis 0.1 to 1 ms."""
KNOWN_AT_MOST = 1_024
"""Partitions remembered, some 200 bytes each. The smallest, which the reply does not fill, are none of them."""
_EF_SMALL, _EF_LARGE, _LARGE = 32, 64, 30_000
"""Candidates held while walking, in an index of fewer and of more entries than that. At a million 64 find 98.2 % of the nearest three in
0.66 ms, 128 98.9 % in 0.78."""


class SearchPolicy:
    """What is known of the index and its partitions, and what follows for a query.

    Args:
        now: a clock that never goes back, in seconds.

    Attributes:
        documents: entries in the index when it was last looked at.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.documents = 0
        self._now = now
        self._known: OrderedDict[str, tuple[bool, float]] = OrderedDict()
        self._is_understood = True

    @property
    def crossing(self) -> int:
        """Entries in a partition from which a walk is cheaper."""
        return max(CROSSING_LEAST, int(CROSSING_SLOPE * math.sqrt(self.documents)))

    def compares_all(self, partition: str) -> bool:
        """Whether every entry of the partition is compared, since it is known to be small."""
        return self._is_understood and self._known.get(partition, (None, 0.0))[0] is False

    def hints(self, partition: str) -> str:
        """What to write behind KNN's vector for a query in this partition."""
        if self.compares_all(partition):
            return "HYBRID_POLICY ADHOC_BF"
        is_walked, _ = self._known.get(partition, (None, 0.0))
        held = _EF_SMALL if self.documents < _LARGE else _EF_LARGE
        policy = (
            "HYBRID_POLICY BATCHES " if is_walked and self._is_understood and self.documents < OWN_CHOICE_FROM else ""
        )
        return f"{policy}EF_RUNTIME {held}"

    def wants_size(self, partition: str) -> bool:
        """Whether it matters, and is not known, on which side of the crossing a partition lies that fills a reply."""
        _, until = self._known.get(partition, (None, 0.0))
        return self._is_understood and self.documents > CROSSING_LEAST and self._now() >= until

    def refused(self) -> None:
        """This search module knows no policies (Valkey's): its own choice has to do from now on."""
        self._is_understood = False

    def learn(self, partition: str, *, is_beyond: bool) -> None:
        """Remember whether the partition holds more than `crossing`."""
        self._known[partition] = (is_beyond, self._now() + KNOWN_FOR_S)
        self._known.move_to_end(partition)
        if len(self._known) > KNOWN_AT_MOST:
            self._known.popitem(last=False)
