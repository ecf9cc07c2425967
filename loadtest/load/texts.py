"""Topics to ask about: wordings that one answer serves, and questions that are easily taken for them.

Two sources. `authored` are the groups that were written for the verifier's training, of which only those are used that training kept
aside: varied, as people write, and so the place to measure hits and wrong hits. `templated` makes as many as a machine can be asked, all
alike: the place to measure speed where no text may come twice.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass

from embeddings.training import authored_groups

_QUOTES = "“”"  # the simulated provider quotes questions in them, and `answers` reads its quotation

VERBS = (
    "adjust", "buy", "carry", "choose", "clean", "cover", "decorate", "dismantle", "disinfect", "draw", "dry", "fold", "heat", "identify",
    "insure", "label", "lend", "lift", "lock", "measure", "move", "oil", "open", "paint", "photograph", "polish", "rent", "reset",
    "sell", "silence", "store", "test", "transport", "unpack", "varnish", "weigh", "wrap",
)  # fmt: skip
THINGS = (
    "accordion", "armchair", "barbecue", "barometer", "bathtub", "bicycle", "bookshelf", "camera", "canoe", "carpet", "cello", "chandelier",
    "chess board", "chimney", "clock", "coffee machine", "compass", "cupboard", "dishwasher", "doll house", "drone", "drum kit", "easel",
    "fish tank", "flute", "fountain pen", "freezer", "garden gate", "globe", "greenhouse", "guitar", "hammock", "helmet", "hourglass",
    "jukebox", "kayak", "kettle", "kite", "ladder", "lantern", "lawn mower", "loom", "mattress", "microscope", "mirror", "motorcycle",
    "oven", "parasol", "piano", "pillow", "printer", "projector", "radiator", "raincoat", "record player", "rocking chair", "rowing boat",
    "rucksack", "saddle", "safe", "saxophone", "sewing machine", "skateboard", "sledge", "snow globe", "stove", "suitcase", "surfboard",
    "tandem", "telescope", "tent", "toaster", "trampoline", "treadmill", "trumpet", "typewriter", "umbrella", "vacuum cleaner", "vase",
    "violin", "wardrobe", "washing machine", "wheelbarrow", "wheelchair", "windmill", "wine rack", "workbench", "xylophone", "yoga mat",
)  # fmt: skip
WORDINGS = (
    "How do I {verb} my {thing}?",
    "How can I {verb} my {thing}?",
    "how do i {verb} my {thing}",
    "What is the best way to {verb} my {thing}?",
    "How should I {verb} my {thing}?",
    "What's the right way to {verb} my {thing}?",
    "Please tell me how to {verb} my {thing}.",
    "Could you explain how to {verb} my {thing}?",
    "How would I {verb} my {thing}?",
    "What do I do to {verb} my {thing}?",
    "Can you tell me how I can {verb} my {thing}?",
    "I want to {verb} my {thing}, how do I do that?",
    "Please explain how I {verb} my {thing}.",
    "how can i {verb} my {thing}?",
    "What is a good way to {verb} my {thing}?",
    "Tell me how I can {verb} my {thing}.",
    "I'd like to know how to {verb} my {thing}.",
    "In what way can I {verb} my {thing}?",
    "Show me how to {verb} my {thing}.",
    "How do you {verb} a {thing} like mine?",
)
"""Of a templated topic, the first of which is what is stored."""

FRESH = (
    "When should I {verb} my {thing}?",
    "Why would anybody {verb} a {thing}?",
    "How often should I {verb} my {thing}?",
    "Is it dangerous to {verb} a {thing}?",
)
"""Questions that no topic answers, each close to one that does: a miss then costs what it does in a full cache."""


@dataclass(frozen=True, slots=True)
class Topic:
    """One thing to ask.

    Attributes:
        wordings: of the question; an answer to one of them serves all.
        near: questions that it is easily taken for, whose answers do not serve.
    """

    wordings: tuple[str, ...]
    near: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Texts:
    """Everything that can be asked.

    Attributes:
        topics: to begin with.
        follow_ups: to go on with.
    """

    topics: tuple[Topic, ...]
    follow_ups: tuple[Topic, ...] = ()


def authored() -> Texts:
    """The groups kept aside by the verifier's training: some 600 topics.

    A question that stands in two groups would make a right hit look wrong, so of groups that share a wording the first is taken.
    """
    topics: list[Topic] = []
    follow_ups: list[Topic] = []
    seen: set[str] = set()
    for group in authored_groups.groups():
        if not group.is_aside or group.field == authored_groups.STATEMENTS:
            continue
        topic = Topic(_quotable(group.same), _quotable(tuple(text for _, text in group.near)))
        plain = {_plain(text) for text in (*topic.wordings, *topic.near)}
        if seen.isdisjoint(plain):
            (follow_ups if group.field in authored_groups.FOLLOW_UPS else topics).append(topic)
            seen |= plain
    return Texts(tuple(topics), tuple(follow_ups))


def _plain(text: str) -> str:
    return "".join(char for char in text.casefold() if char.isalnum())


def templated(count: int, seed: int = 0) -> Texts:
    """That many topics of twenty wordings each, in a seeded order.

    Raises:
        ValueError: there are not so many.
    """
    both = list(itertools.product(VERBS, THINGS))
    if not 0 < count <= len(both):
        raise ValueError(f"1 to {len(both)} topics can be made of the templates, not {count}")
    random.Random(seed).shuffle(both)
    return Texts(
        tuple(
            Topic(tuple(wording.format(verb=verb, thing=thing) for wording in WORDINGS)) for verb, thing in both[:count]
        )
    )


def fresh(seed: int = 0) -> list[str]:
    """Some 13,000 questions that are not among the templated topics, no two alike."""
    found = [form.format(verb=verb, thing=thing) for form in FRESH for verb in VERBS for thing in THINGS]
    random.Random(seed).shuffle(found)
    return found


def _quotable(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(text for text in texts if not any(quote in text for quote in _QUOTES))
