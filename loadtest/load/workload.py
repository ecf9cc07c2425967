"""What is asked, one request after the other, and what would be a right answer. Pure and seeded; no clock, no socket.

A topic is drawn by its popularity, then a wording of it. What that makes the request (new, a repeat, a reworded one) follows from what
was asked before, so the generator's own memory is the truth that hits are held against. A trap asks what a popular topic is easily
taken for, and no other topic of the workload. A follow-up continues an earlier request once that has been answered: its history holds the
answer that came, as a client's would.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from loadtest.load.texts import Texts, Topic


class Kind(StrEnum):
    """What a request is, to a cache that forgets nothing and errs nowhere."""

    NEW = "new"
    REPEAT = "repeat"
    REWORDED = "reworded"
    TRAP = "trap"
    FOLLOW_UP = "follow-up"


@dataclass(frozen=True, slots=True)
class Mix:
    """How requests are drawn.

    Attributes:
        zipf: exponent of popularity: the topic of rank r is asked in proportion to r to the power of minus this; 0 is all alike. Logs
            of search engines lie between 0.7 and 1.
        reworded: share of requests that draw among all wordings; the rest use the topic's first one.
        traps: share that ask a near miss of a topic.
        follow_ups: share that continue an earlier request.
        streamed: share that ask for a stream.
        system: the instructions before each conversation; empty for none.
    """

    zipf: float = 0.9
    reworded: float = 0.5
    traps: float = 0.05
    follow_ups: float = 0.1
    streamed: float = 0.3
    system: str = ""


@dataclass(frozen=True, slots=True)
class Ask:
    """One request.

    Attributes:
        number: its place in the workload, from 0.
        kind: see `Kind`.
        text: the last user turn.
        serving: questions whose answers serve it, itself among them.
        is_streamed: whether it asks for a stream.
        system: instructions; empty for none.
        after: the request it continues, whose answer it has to wait for.
    """

    number: int
    kind: Kind
    text: str
    serving: frozenset[str]
    is_streamed: bool = False
    system: str = ""
    after: Ask | None = None


def mixed(texts: Texts, mix: Mix, seed: int = 0, *, order_seed: int = 0) -> Iterator[Ask]:
    """Draw requests without end.

    Args:
        texts: to draw from.
        mix: how.
        seed: of the draws.
        order_seed: of which topics are popular; users of one service share it.
    """
    draw = random.Random(seed)
    topics = list(texts.topics)
    random.Random(order_seed).shuffle(topics)  # popularity has nothing to do with the file a topic stands in
    ranks = _ranks(len(topics), mix.zipf)
    memory = _Memory()
    for number in itertools.count():
        is_streamed, chance = draw.random() < mix.streamed, draw.random()
        if chance < mix.follow_ups and texts.follow_ups and memory.recent:
            place, earlier = draw.choice(memory.recent)
            topic = texts.follow_ups[(place + draw.randrange(_FOLLOW_UPS)) % len(texts.follow_ups)]
            text = draw.choice(topic.wordings)
            yield Ask(number, Kind.FOLLOW_UP, text, frozenset(topic.wordings), is_streamed, mix.system, earlier)
            continue
        place = draw.choices(range(len(topics)), cum_weights=ranks)[0]
        topic = topics[place]
        if chance > 1 - mix.traps and topic.near:
            text = draw.choice(topic.near)
            yield Ask(number, Kind.TRAP, text, frozenset((text,)), is_streamed, mix.system)
            continue
        text = draw.choice(topic.wordings) if draw.random() < mix.reworded else topic.wordings[0]
        ask = Ask(number, memory.kind(place, text), text, frozenset(topic.wordings), is_streamed, mix.system)
        memory.add(place, ask)
        yield ask


def popular(topics: Sequence[Topic], zipf: float, seed: int = 0) -> Iterator[Ask]:
    """Rewordings by their popularity, without end: popular ones come again and again, others once.

    Texts are ranked, not topics, since the exponents that logs show are those of texts.
    """
    draw = random.Random(seed)
    both = [(topic, text) for topic in topics for text in topic.wordings[1:]]
    draw.shuffle(both)
    ranks = _ranks(len(both), zipf)
    for number in itertools.count():
        topic, text = draw.choices(both, cum_weights=ranks)[0]
        yield Ask(number, Kind.REWORDED, text, frozenset(topic.wordings))


def stored(topics: Sequence[Topic], *, is_streamed: bool = False) -> list[Ask]:
    """Each topic's first wording once, as new."""
    return [
        Ask(number, Kind.NEW, topic.wordings[0], frozenset(topic.wordings), is_streamed)
        for number, topic in enumerate(topics)
    ]


def repeated(topics: Sequence[Topic], *, is_streamed: bool = False) -> Iterator[Ask]:
    """Each topic's first wording again and again."""
    numbers = itertools.count()
    for topic in itertools.cycle(topics):
        yield Ask(next(numbers), Kind.REPEAT, topic.wordings[0], frozenset(topic.wordings), is_streamed)


def reworded(topics: Sequence[Topic], seed: int = 0, *, is_streamed: bool = False) -> Iterator[Ask]:
    """Every other wording of every topic, each once, in a seeded order: no text comes twice, and each should be a hit. It ends."""
    both = [(topic, text) for topic in topics for text in topic.wordings[1:]]
    random.Random(seed).shuffle(both)
    for number, (topic, text) in enumerate(both):
        yield Ask(number, Kind.REWORDED, text, frozenset(topic.wordings), is_streamed)


def fresh(questions: Sequence[str], *, is_streamed: bool = False) -> Iterator[Ask]:
    """Questions that only an answer of their own serves."""
    for number, text in enumerate(questions):
        yield Ask(number, Kind.NEW, text, frozenset((text,)), is_streamed)


_RECENT = 256  # requests that a follow-up may continue: conversations go on within minutes
_FOLLOW_UPS = 3  # ways in which people go on from a topic


def _ranks(count: int, zipf: float) -> list[float]:
    """Cumulated weights of ranks."""
    return list(itertools.accumulate((place + 1) ** -zipf for place in range(count)))


@dataclass(slots=True)
class _Memory:
    """What has been asked: texts, topics by their place, and the latest requests."""

    texts: set[str] = field(default_factory=set)
    places: set[int] = field(default_factory=set)
    recent: list[tuple[int, Ask]] = field(default_factory=list)

    def kind(self, place: int, text: str) -> Kind:
        if text in self.texts:
            return Kind.REPEAT
        return Kind.REWORDED if place in self.places else Kind.NEW

    def add(self, place: int, ask: Ask) -> None:
        self.texts.add(ask.text)
        self.places.add(place)
        if len(self.recent) < _RECENT:
            self.recent.append((place, ask))
        else:
            self.recent[ask.number % _RECENT] = (place, ask)
