"""Takes a caller's word about a hit and makes it last: `core.feedback` says what it changes, and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from proxy.core import keys
from proxy.core.decision_log import DecisionRecord
from proxy.core.feedback import KEPT_S, Vote
from proxy.errors import RequestError
from proxy.ports import Guard, ResponseStore
from proxy.services.decisions import DecisionReader, Decisions


@dataclass(frozen=True, slots=True)
class Taken:
    """What a vote did.

    Attributes:
        vote: the vote.
        entry_id: of the answer that was voted on.
        is_new: it was not said before.
        is_evicted: this vote removed the entry; False where it was gone already.
        is_pair_remembered: the two wordings are never equal from now on.
    """

    vote: Vote
    entry_id: str
    is_new: bool
    is_evicted: bool = False
    is_pair_remembered: bool = False


class Feedback:
    """Votes on hits.

    Args:
        decisions: finds what was voted on.
        store: keeps the votes.
        responses: where the entries are.
        guard: bounds what Redis may cost.
        deadline_s: for one vote.
        on_vote: told of each new vote and the tier that had served.
    """

    def __init__(
        self,
        decisions: Decisions,
        store: DecisionReader,
        responses: ResponseStore,
        guard: Guard,
        *,
        deadline_s: float,
        on_vote: Callable[[Vote, str], None],
    ) -> None:
        self._decisions = decisions
        self._store = store
        self._responses = responses
        self._guard = guard
        self._deadline_s = deadline_s
        self._on_vote = on_vote

    async def take(self, tenant: str, request_id: str, vote: Vote) -> Taken:
        """Take a vote. Saying the same twice changes nothing more.

        Raises:
            RequestError: 404 for an unknown request, 409 for one that was no hit, or was called wrong before and is now called right.
            StoreError: Redis gave no answer; say it again.
        """
        record = await self._decisions.find(tenant, request_id)
        if not record.is_hit:
            raise _not_a_hit(record)
        if record.vote == Vote.WRONG and vote is Vote.RIGHT:
            raise RequestError(
                "This answer was called wrong before, and is gone; that cannot be taken back. The question is stored anew the next time it "
                "is asked.",
                status=409,
                code="feedback_final",
                param="verdict",
            )
        async with self._guard.within(self._deadline_s):
            taken = await self._apply(record, vote)
            # Written last: a vote that was not carried out is not remembered as one that was.
            await self._store.vote(tenant, request_id, vote)
        if taken.is_new:
            self._on_vote(vote, record.tier)
        return taken

    async def _apply(self, record: DecisionRecord, vote: Vote) -> Taken:
        is_new = record.vote != vote
        if vote is Vote.RIGHT:
            return Taken(vote, record.served, is_new)
        pair = _pair(record)
        is_evicted = await self._responses.condemn(
            record.served,
            at=record.served_at,
            condemned_key=keys.condemned_key(record.room),
            pair=pair,
            keep_s=KEPT_S,
        )
        return Taken(vote, record.served, is_new, is_evicted, is_pair_remembered=bool(pair))


def _pair(record: DecisionRecord) -> tuple[tuple[str, str], ...]:
    """The two texts that are never equal from now on; none where they are the same but for case and white space."""
    stored = next((one.question for one in record.seen if one.is_chosen), None)
    if record.outcome != "semantic" or record.asked is None or stored is None:
        return ()
    pair = tuple((keys.unequal_key(record.room, text), keys.text_digest(text)) for text in (record.asked, stored))
    return pair if pair[0] != pair[1] else ()


def _not_a_hit(record: DecisionRecord) -> RequestError:
    said = f" In shadow mode the {record.would_hit} tier would have answered, and did not." if record.would_hit else ""
    return RequestError(
        f"This answer came from the model provider, not from the cache, so there is no hit to judge.{said} For a fresh answer send the "
        "request again with `Cache-Control: no-cache`.",
        status=409,
        code="not_a_hit",
        param="request_id",
    )
