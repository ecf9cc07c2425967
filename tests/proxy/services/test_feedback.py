from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from proxy.core import keys
from proxy.core.decision_log import DecisionRecord, Seen
from proxy.core.feedback import Vote
from proxy.errors import RequestError, StoreUnavailableError
from proxy.services import decisions as reading
from proxy.services.decisions import Decisions
from proxy.services.feedback import Feedback
from tests.builders import MODEL
from tests.proxy.services.test_decisions import TENANT, Store, Unguarded

ASKED, STORED = "How do I grow tomatoes?", "How do I grow potatoes?"


class Responses:
    """Remembers what was condemned; fails as told."""

    def __init__(self, *, is_away: bool = False) -> None:
        self.condemned: list[tuple[str, str, tuple[tuple[str, str], ...]]] = []
        self.is_away = is_away

    async def condemn(
        self, entry_id: str, *, at: str, condemned_key: str, pair: Sequence[tuple[str, str]], keep_s: int
    ) -> bool:
        if self.is_away:
            raise StoreUnavailableError("away")
        assert condemned_key == keys.condemned_key("0a")
        self.condemned.append((entry_id, at, tuple(pair)))
        return len(self.condemned) == 1


def semantic(**fields: Any) -> DecisionRecord:
    seen = (Seen("ent_0", "Is it tasty?", 0.95, "gate-focus"), Seen("ent_1", STORED, 0.9, is_chosen=True))
    made = DecisionRecord(
        "req_1",
        1.0,
        TENANT,
        "",
        MODEL,
        "0a",
        "c",
        "semantic",
        "",
        asked=ASKED,
        seen=seen,
        served="ent_1",
        served_at="key",
    )
    return made._replace(**fields)


class Voting:
    """Feedback over doubles, and what it counted."""

    def __init__(self, record: DecisionRecord, *, is_away: bool = False) -> None:
        self.store, self.responses = Store(record), Responses(is_away=is_away)
        self.counted: list[tuple[Vote, str]] = []
        self.feedback = Feedback(
            Decisions(self.store, Unguarded(), levels=lambda: None, deadline_s=1.0),
            self.store,
            self.responses,  # type: ignore[arg-type]
            Unguarded(),
            deadline_s=1.0,
            on_vote=lambda vote, tier: self.counted.append((vote, tier)),
        )

    async def take(self, vote: Vote) -> tuple[bool, bool, bool]:
        taken = await self.feedback.take(TENANT, "req_1", vote)
        return taken.is_new, taken.is_evicted, taken.is_pair_remembered


async def test_wrong_condemns_the_served_entry_and_both_wordings() -> None:
    voting = Voting(semantic())
    assert await voting.take(Vote.WRONG) == (True, True, True)
    pair = tuple((keys.unequal_key("0a", text), keys.text_digest(text)) for text in (ASKED, STORED))
    assert voting.responses.condemned == [("ent_1", "key", pair)]
    assert voting.counted == [(Vote.WRONG, "semantic")]


async def test_the_same_vote_again_counts_for_nothing() -> None:
    voting = Voting(semantic())
    await voting.take(Vote.WRONG)
    assert await voting.take(Vote.WRONG) == (False, False, True)
    assert len(voting.counted) == 1


async def test_right_touches_no_entry() -> None:
    voting = Voting(semantic())
    assert await voting.take(Vote.RIGHT) == (True, False, False)
    assert voting.responses.condemned == []
    assert voting.store.records[0].vote == "right"


async def test_wrong_after_right_stands_and_right_after_wrong_does_not() -> None:
    voting = Voting(semantic(vote="right"))
    assert await voting.take(Vote.WRONG) == (True, True, True)
    with pytest.raises(RequestError) as refused:
        await voting.take(Vote.RIGHT)
    assert (refused.value.status, voting.store.records[0].vote) == (409, "wrong")


@pytest.mark.parametrize(
    "record",
    [
        semantic(outcome="exact", asked=None, seen=()),
        semantic(asked=f"  {STORED.upper()}"),
    ],
    ids=["exact", "same wording"],
)
async def test_one_wording_makes_no_pair(record: DecisionRecord) -> None:
    voting = Voting(record)
    assert await voting.take(Vote.WRONG) == (True, True, False)
    assert voting.responses.condemned[0][2] == ()


async def test_a_vote_that_was_not_carried_out_is_not_remembered() -> None:
    voting = Voting(semantic(), is_away=True)
    with pytest.raises(StoreUnavailableError):
        await voting.take(Vote.WRONG)
    assert (voting.store.records[0].vote, voting.counted) == (None, [])


@pytest.mark.parametrize(
    "record",
    [semantic(outcome="miss"), semantic(outcome="collapsed"), semantic(outcome="bypass", would_hit="semantic")],
    ids=["miss", "collapsed", "shadow"],
)
async def test_an_answer_of_the_provider_cannot_be_judged(record: DecisionRecord) -> None:
    with pytest.raises(RequestError) as refused:
        await Voting(record).take(Vote.WRONG)
    assert (refused.value.status, refused.value.code) == (409, "not_a_hit")


async def test_a_request_nobody_knows_cannot_be_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "WAIT_S", ())
    with pytest.raises(RequestError) as refused:
        await Voting(semantic(request_id="req_other")).take(Vote.WRONG)
    assert refused.value.status == 404
