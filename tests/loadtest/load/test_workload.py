"""The workload: seeded, and true about itself."""

from __future__ import annotations

from itertools import islice

import pytest

from loadtest.load import arrivals, texts, workload
from loadtest.load.texts import Texts, Topic
from loadtest.load.workload import Ask, Kind, Mix, mixed

SMALL = Texts(
    tuple(Topic((f"how {n}", f"in what way {n}", f"the way {n}"), (f"why {n}",)) for n in range(20)),
    (Topic(("and the price?", "what does it cost?")),),
)


def draws(mix: Mix, count: int = 2000, seed: int = 3) -> list[Ask]:
    return list(islice(mixed(SMALL, mix, seed), count))


def test_the_same_seed_asks_the_same_and_another_does_not() -> None:
    assert draws(Mix(), 300) == draws(Mix(), 300)
    assert draws(Mix(), 300) != draws(Mix(), 300, seed=4)


def test_each_kind_is_what_a_perfect_cache_would_call_it() -> None:
    texts_seen: set[str] = set()
    topics_seen: set[frozenset[str]] = set()
    for ask in draws(Mix(follow_ups=0, traps=0)):
        expected = Kind.REPEAT if ask.text in texts_seen else Kind.REWORDED if ask.serving in topics_seen else Kind.NEW
        assert ask.kind is expected
        assert ask.text in ask.serving
        texts_seen.add(ask.text)
        topics_seen.add(ask.serving)


def test_a_trap_is_served_by_nothing_but_itself() -> None:
    traps = [ask for ask in draws(Mix(traps=0.5, follow_ups=0)) if ask.kind is Kind.TRAP]
    assert len(traps) > 800
    assert all(ask.serving == {ask.text} and ask.text.startswith("why") for ask in traps)


def test_a_follow_up_continues_a_request_that_was_asked_before_it() -> None:
    asks = draws(Mix(follow_ups=0.4))
    later = [ask for ask in asks if ask.after is not None]
    assert len(later) > 600
    for ask in later:
        assert ask.after is not None
        assert asks[ask.after.number] is ask.after
        assert ask.after.number < ask.number
        assert ask.after.kind is not Kind.FOLLOW_UP


def test_popularity_follows_zipf() -> None:
    counts: dict[frozenset[str], int] = {}
    for ask in draws(Mix(zipf=1.0, follow_ups=0, traps=0), 20_000):
        counts[ask.serving] = counts.get(ask.serving, 0) + 1
    ordered = sorted(counts.values(), reverse=True)
    assert ordered[0] / ordered[9] == pytest.approx(10, rel=0.25)


def test_distinct_rewordings_never_come_twice_and_are_not_what_is_stored() -> None:
    topics = texts.templated(30).topics
    first = {ask.text for ask in workload.stored(topics)}
    asked = [ask.text for ask in workload.reworded(topics)]
    assert len(asked) == len(set(asked)) == 30 * (len(texts.WORDINGS) - 1)
    assert first.isdisjoint(asked)


def test_there_are_topics_to_ask_and_to_go_on_with() -> None:
    found = texts.authored()
    assert len(found.topics) > 300
    assert len(found.follow_ups) > 10
    assert all(topic.wordings for topic in (*found.topics, *found.follow_ups))


def test_more_templated_topics_than_there_are_is_refused() -> None:
    most = len(texts.VERBS) * len(texts.THINGS)
    assert len(texts.templated(most).topics) == most
    with pytest.raises(ValueError, match=f"1 to {most}"):
        texts.templated(most + 1)


@pytest.mark.parametrize("name", arrivals.ARRIVALS)
def test_arrivals_rise_at_their_rate(name: str) -> None:
    moments = list(islice(arrivals.ARRIVALS[name](50.0, 1), 20_000))
    assert moments == sorted(moments)
    assert len(moments) / moments[-1] == pytest.approx(50, rel=0.1)


def test_bursts_come_at_the_same_moment() -> None:
    moments = list(islice(arrivals.bursts(50.0, 1), 3 * arrivals.BURST))
    assert len(set(moments)) == 3
