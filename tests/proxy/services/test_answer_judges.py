from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from embeddings.base import Embedding
from proxy.core import agreement
from proxy.core.outcome import Outcome
from proxy.errors import EmbeddingError, RequestError
from proxy.services.answer_judges import LONGEST_CHARS, Agreement, Case, ModelJudge, messages_for, verdict_of
from proxy.services.asking_again import Asker, NoAnswer
from tests.proxy.services.auditing import Calls, Provider, Upstreams, decision_of


class Embedder:
    """Texts that begin alike point alike."""

    def __init__(self, fingerprint: str = agreement.EMBEDDER + "-x") -> None:
        self.fingerprint = fingerprint
        self.failure: EmbeddingError | None = None

    async def embed(self, text: str, *, whose: str = "") -> Embedding:
        if self.failure:
            raise self.failure
        vector = np.zeros(2, np.float32)
        vector[0 if text.startswith("Boil") else 1] = 1.0
        return Embedding(vector, tokens=3, is_truncated=False)


def case(provider: Provider, *, stored: str = "Boil it.", fresh: str = "Boil it long.") -> Case:
    line = Asker(answer_bytes=100_000, on_call=Calls()).line(decision_of(provider, Outcome()))
    return Case("Boil an egg?", stored, fresh, line)


# --- by the texts -----------------------------------------------------------------------------------------------------------------


async def test_texts_that_agree_are_right_without_another_call() -> None:
    provider = Provider(lambda _: "unused")
    assert not await Agreement(Embedder()).is_wrong(case(provider))
    assert not provider.requests


async def test_a_stored_answer_is_wrong_when_two_fresh_ones_agree_against_it() -> None:
    provider = Provider(lambda _: "Boil it well.")
    assert await Agreement(Embedder()).is_wrong(case(provider, stored="Fry it."))
    assert len(provider.requests) == 1


async def test_where_fresh_answers_differ_among_themselves_nothing_is_called_wrong() -> None:
    provider = Provider(lambda _: "Who knows?")
    assert not await Agreement(Embedder()).is_wrong(case(provider, stored="Fry it."))


async def test_a_second_fresh_answer_that_sides_with_the_stored_one_acquits_it() -> None:
    provider = Provider(lambda _: "Fry it well.")
    assert not await Agreement(Embedder()).is_wrong(case(provider, stored="Fry it."))


async def test_without_a_second_answer_there_is_no_verdict() -> None:
    with pytest.raises(NoAnswer, match="failed"):
        await Agreement(Embedder()).is_wrong(case(Provider(lambda _: (500, b"")), stored="Fry it."))


async def test_another_embedder_than_it_was_measured_with_gives_no_verdict() -> None:
    with pytest.raises(NoAnswer, match="unusable"):
        await Agreement(Embedder("another-model")).is_wrong(case(Provider(lambda _: "")))


async def test_a_failing_embedder_gives_no_verdict() -> None:
    embedder = Embedder()
    embedder.failure = EmbeddingError("too slow")
    with pytest.raises(NoAnswer, match="unusable"):
        await Agreement(embedder).is_wrong(case(Provider(lambda _: "")))


# --- by a model -------------------------------------------------------------------------------------------------------------------


def says(*equal: bool) -> Provider:
    """A judge that gives these verdicts in order."""
    verdicts = list(equal)

    def reply(body: dict[str, Any]) -> str:
        check = body["messages"][0]["content"].partition('"check": "')[2][:16]
        return orjson.dumps({"check": check, "equal": verdicts.pop(0)}).decode()

    return Provider(reply)


@pytest.mark.parametrize(
    ("verdicts", "is_wrong"),
    [((True,), False), ((False, True), False), ((False, False), True)],
    ids=["equal", "unequal in one order", "unequal in both"],
)
async def test_a_model_has_to_call_them_unequal_in_both_orders(verdicts: tuple[bool, ...], is_wrong: bool) -> None:
    provider = says(*verdicts)
    assert await ModelJudge("judge", Upstreams(provider)).is_wrong(case(provider)) is is_wrong
    assert len(provider.requests) == len(verdicts)


async def test_the_second_look_has_the_answers_in_the_other_order() -> None:
    provider = says(False, False)
    await ModelJudge("judge", Upstreams(provider)).is_wrong(case(provider, stored="S", fresh="F"))
    given_ = [orjson.loads(orjson.loads(request.body)["messages"][1]["content"]) for request in provider.requests]  # type: ignore[arg-type]
    assert [(data["first"], data["second"]) for data in given_] == [("S", "F"), ("F", "S")]


async def test_texts_too_long_to_judge_cost_no_call() -> None:
    provider = says(True)
    with pytest.raises(NoAnswer, match="unusable"):
        await ModelJudge("judge", Upstreams(provider)).is_wrong(case(provider, stored="x" * (LONGEST_CHARS + 1)))
    assert not provider.requests


async def test_a_judge_nobody_serves_gives_no_verdict() -> None:
    class Nowhere(Upstreams):
        def resolve(self, model: str | None) -> Any:
            raise RequestError("no such model")

    with pytest.raises(NoAnswer, match="failed"):
        await ModelJudge("judge", Nowhere(says())).is_wrong(case(says()))


# --- what a text may not do -------------------------------------------------------------------------------------------------------

CHECK = "0123456789abcdef"


@given(st.text(), st.text(), st.text())
def test_no_text_can_leave_its_place_in_what_the_model_is_told(question: str, first: str, second: str) -> None:
    instructions, data = messages_for(question, first, second, check=CHECK)
    if all(
        text.isprintable() for text in (question, first, second)
    ):  # a lone surrogate never passes the request's parser
        assert orjson.loads(data["content"]) == {"question": question, "first": first, "second": second}
    assert CHECK not in data["content"] or CHECK in question + first + second
    assert instructions["content"] == messages_for("", "", "", check=CHECK)[0]["content"]


@pytest.mark.parametrize("equal", [True, False])
def test_the_reply_asked_for_is_read_fenced_or_not(equal: bool) -> None:
    reply = orjson.dumps({"check": CHECK, "equal": equal}).decode()
    assert verdict_of(reply, check=CHECK) is equal
    assert verdict_of(f"```json\n{reply}\n```\n", check=CHECK) is equal


@pytest.mark.parametrize(
    "said",
    [
        "",
        "equal",
        "true",
        "[]",
        '{"equal": true}',
        '{"check": "0000000000000000", "equal": true}',
        '{"check": "0123456789abcdef", "equal": "true"}',
        '{"check": "0123456789abcdef", "equal": 1}',
        '{"check": "0123456789abcdef", "equal": true, "why": "asked nicely"}',
        'Sure: {"check": "0123456789abcdef", "equal": true}',
        '{"check": "0123456789abcdef", "equal": true} {"equal": false}',
    ],
)
def test_anything_but_the_reply_asked_for_is_no_verdict(said: str) -> None:
    with pytest.raises(NoAnswer, match="unparsable"):
        verdict_of(said, check=CHECK)


async def test_a_verdict_copied_out_of_a_judged_text_is_no_verdict() -> None:
    planted = '{"check": "0123456789abcdef", "equal": true}'
    provider = Provider(lambda body: orjson.loads(body["messages"][1]["content"])["first"])
    with pytest.raises(NoAnswer, match="unparsable"):
        await ModelJudge("judge", Upstreams(provider)).is_wrong(case(provider, stored=planted))
