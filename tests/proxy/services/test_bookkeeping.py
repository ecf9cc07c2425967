from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from proxy.core.answers import Answer
from proxy.core.embedding_answers import Form, StoredEmbedding, Vector
from proxy.core.ledger import SHARED, Purpose, Saving
from proxy.core.models import Directives, HitKind, WireMode
from proxy.core.outcome import Outcome
from proxy.core.prices import Tariff
from proxy.core.usage import Usage
from proxy.services.bookkeeping import Books, wire_usage
from proxy.services.calls import Decision
from proxy.services.embedding_calls import EmbeddingCall, EmbeddingDecision
from proxy.services.ledger import Account
from tests.proxy.services.auditing import Provider, decision_of, stored_entry

TARIFF = Tariff("gpt-4o")
USAGE = Usage(20, 5, model="gpt-4o-2024-08-06")
ANSWER = Answer(
    body={"model": "gpt-4o-2024-08-06", "choices": []},
    wire=WireMode.BOTH,
    messages=({"role": "assistant", "content": "Six minutes."},),
    finish_reasons=("stop",),
    has_tool_calls=False,
    usage={"prompt_tokens": 20, "completion_tokens": 5},
)
MINE = Account("tenant", "shop", TARIFF)


class Notes:
    """A ledger that remembers what it was told."""

    def __init__(self) -> None:
        self.notes: list[tuple[Any, ...]] = []

    def saved(self, account: Account, kind: Saving, usage: bytes, *, is_estimated: bool, tier: object = None) -> None:
        self.notes.append(("saved", account, kind, usage, is_estimated, tier))

    def called(self, account: Account, usage: Usage | None, *, is_estimated: bool = False) -> None:
        self.notes.append(("called", account, usage, is_estimated))

    def failed(self, account: Account, *, is_begun: bool = False) -> None:
        self.notes.append(("failed", account, is_begun))

    def paid(self, account: Account, purpose: Purpose, usage: Usage | None) -> None:
        self.notes.append(("paid", account, purpose, usage))


class Hits:
    """What entries are said to have earned."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def served(self, entry_id: str, *, usage: bytes | int, tariff: Tariff | None, size_bytes: int) -> None:
        self.told.append((entry_id, usage, tariff, size_bytes))


class Route:
    """Where the requests of these tests go."""

    identity = "i"
    tariff = TARIFF


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def books(notes: Notes) -> Books:
    return Books(notes)


def decision(outcome: Outcome | None = None, **body: Any) -> Decision:
    made = decision_of(Provider(lambda _: ""), outcome or Outcome(), Directives(namespace="shop"), **body)
    made.route = Route()  # type: ignore[assignment]
    return made


def hit(kind: HitKind = HitKind.EXACT) -> Outcome:
    entry = replace(stored_entry(), usage=USAGE.to_wire())
    return Outcome(hit=kind, entry=entry)


def test_a_call_is_on_the_account_of_who_answered_it(books: Books, notes: Notes) -> None:
    other = Route()
    other.tariff = Tariff("claude")
    books.called(decision(), 200, ANSWER)
    books.called(decision(), 200, replace(ANSWER, usage_estimated=True), by=other)  # type: ignore[arg-type]
    books.called(decision(), 200, None)
    books.called(decision(), 429, None)
    assert notes.notes == [
        ("called", MINE, USAGE, False),
        ("called", replace(MINE, tariff=Tariff("claude")), USAGE, True),
        ("called", MINE, None, False),
        ("failed", MINE, False),
    ]


def test_a_call_that_broke_off_may_have_been_charged(books: Books, notes: Notes) -> None:
    books.failed(decision(), is_begun=False)
    books.failed(decision(), is_begun=True)
    assert [note[-1] for note in notes.notes] == [False, True]


@pytest.mark.parametrize("kind", list(HitKind))
def test_a_hit_saves_what_its_answer_used(kind: HitKind, books: Books, notes: Notes) -> None:
    books.finished(decision(hit(kind)), 200)
    assert notes.notes == [("saved", MINE, Saving(kind.value), USAGE.to_wire(), False, None)]


@pytest.mark.parametrize(("asked", "noted"), [("flex", "flex"), (["flex"], None), (None, None)])
def test_the_tier_is_the_requests_own(asked: object, noted: str | None, books: Books, notes: Notes) -> None:
    books.finished(decision(hit(), service_tier=asked), 200)
    assert notes.notes[0][-1] == noted


def test_who_shares_a_call_saves_one(books: Books, notes: Notes) -> None:
    shared = decision(Outcome(is_collapsed=True))
    books.finished(shared, 200)
    shared.answer = ANSWER
    books.finished(shared, 200)
    assert [note[2:5] for note in notes.notes] == [
        (Saving.COLLAPSED, b"", False),
        (Saving.COLLAPSED, wire_usage(ANSWER), False),
    ]


@pytest.mark.parametrize(("outcome", "status"), [(Outcome(), 200), (hit(), 499), (Outcome(is_collapsed=True), 502)])
def test_what_was_not_spared_or_not_answered_saves_nothing(
    outcome: Outcome, status: int, books: Books, notes: Notes
) -> None:
    books.finished(decision(outcome), status)
    assert notes.notes == []


def test_what_deja_asks_for_itself_is_booked_by_its_purpose(books: Books, notes: Notes) -> None:
    for purpose in ("answer", "judge", "extraction", "view"):
        books.asked(purpose, "tenant", TARIFF, ANSWER.usage or {}, ANSWER.body)
    books.embedded_text("text-embedding-3-small", 9)
    books.embedded_text("text-embedding-3-small", None)
    assert [note[2] for note in notes.notes] == [Purpose.AUDIT] * 2 + [Purpose.MEMORY] * 2 + [Purpose.EMBEDDING] * 2
    assert notes.notes[0] == ("paid", Account("tenant", "", TARIFF), Purpose.AUDIT, USAGE)
    assert notes.notes[4] == (
        "paid",
        Account(SHARED, "", Tariff("text-embedding-3-small")),
        Purpose.EMBEDDING,
        Usage(9),
    )
    assert notes.notes[5][3] is None


def embedding(*stored: StoredEmbedding | None, asked: bool, spent: int | None = None) -> EmbeddingDecision:
    call = EmbeddingCall(
        "req_1", "tenant", None, Directives(namespace="shop"), {}, "/embeddings", b"", (), b"", (), began_at=0.0
    )
    made = EmbeddingDecision(call, Route(), found=list(stored), spent_tokens=spent)  # type: ignore[arg-type]
    if asked:
        made.outcome.timings_ms["upstream"] = 1.0
    return made


def vector(tokens: int) -> StoredEmbedding:
    return StoredEmbedding("ent_1", Vector(b"\0\0\0\0", Form.SINGLE), "m", tokens, False, 0.0, 60)


def test_of_a_batch_what_was_stored_is_saved_and_the_rest_was_called(books: Books, notes: Notes) -> None:
    books.embedded(embedding(vector(3), None, vector(4), asked=True, spent=5), 200)
    assert notes.notes == [
        ("called", MINE, Usage(5), False),
        ("saved", MINE, Saving.EXACT, Usage(7).to_wire(), False, None),
    ]


def test_embeddings_that_a_provider_refused_saved_nothing(books: Books, notes: Notes) -> None:
    books.embedded(embedding(vector(3), None, asked=True), 500)
    books.embedded(embedding(asked=True), 200)
    assert notes.notes == [("failed", MINE, False), ("called", MINE, None, False)]


def test_hits_are_told_with_what_they_spared(notes: Notes) -> None:
    hits = Hits()
    books = Books(notes, hits)
    answered = hit(HitKind.SEMANTIC)
    assert answered.entry is not None
    books.finished(decision(answered), 200)
    books.finished(decision(hit()), 499)
    books.finished(decision(Outcome(is_collapsed=True)), 200)
    books.embedded(embedding(vector(3), None, asked=False), 200)
    books.embedded(embedding(vector(3), None, asked=True), 500)
    assert hits.told == [
        (answered.entry.entry_id, USAGE.to_wire(), TARIFF, len(answered.entry.body)),
        ("ent_1", 3, TARIFF, 4),
    ]
