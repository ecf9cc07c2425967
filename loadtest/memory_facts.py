"""Made-up facts about made-up people: each in several wordings, and beside it facts that differ in one thing that matters. Seeded.

What two facts differ in is known by how they are made: the same kind and values in another wording say the same; another number, name or
thing makes another fact. Kinds with an even place in `kinds()` were looked at when the level for merging was chosen, the others were not.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SLOTS: dict[str, tuple[str, ...]] = {
    "city": (
        "Lisbon",
        "Osaka",
        "Toronto",
        "Nairobi",
        "Bergen",
        "Lyon",
        "Austin",
        "Graz",
        "Leeds",
        "Porto",
        "Krakow",
        "Quito",
    ),
    "country": ("Japan", "Portugal", "Kenya", "Norway", "Chile", "Vietnam", "Greece", "Canada", "Morocco", "Iceland"),
    "name": ("Maria", "Tomas", "Aiko", "Priya", "Jonas", "Fatima", "Liam", "Chloe", "Omar", "Ingrid", "Mateo", "Hanna"),
    "food": (
        "sushi",
        "lasagna",
        "falafel",
        "ramen",
        "pancakes",
        "curry",
        "tacos",
        "goulash",
        "paella",
        "dumplings",
        "risotto",
    ),
    "drink": (
        "green tea",
        "black coffee",
        "oat milk lattes",
        "red wine",
        "ginger beer",
        "hot chocolate",
        "white wine",
        "herbal tea",
    ),
    "allergen": (
        "peanuts",
        "shellfish",
        "penicillin",
        "cat hair",
        "pollen",
        "gluten",
        "eggs",
        "aspirin",
        "latex",
        "soy",
    ),
    "sport": ("tennis", "badminton", "football", "chess", "rowing", "squash", "volleyball", "table tennis", "hockey"),
    "genre": ("jazz", "techno", "folk music", "opera", "hip hop", "heavy metal", "classical music", "reggae", "blues"),
    "color": ("blue", "green", "purple", "orange", "yellow", "red", "teal", "black", "turquoise"),
    "language": ("Spanish", "Mandarin", "German", "Swahili", "Portuguese", "Arabic", "Italian", "Korean", "Polish"),
    "job": (
        "nurse",
        "civil engineer",
        "pastry chef",
        "data analyst",
        "history teacher",
        "carpenter",
        "lawyer",
        "pilot",
        "dentist",
    ),
    "company": (
        "Northwind",
        "Acme Robotics",
        "Bluefin Labs",
        "Contoso",
        "Helios Energy",
        "Riverbank",
        "Tailspin",
        "Orchard Bank",
    ),
    "pet": ("dog", "cat", "parrot", "rabbit", "hamster", "tortoise", "ferret"),
    "petname": ("Biscuit", "Luna", "Pepper", "Ziggy", "Mochi", "Rex", "Olive", "Socks"),
    "relative": ("brother", "sister", "mother", "father", "cousin", "daughter", "son", "grandmother", "uncle"),
    "month": ("January", "March", "April", "June", "July", "September", "October", "December"),
    "weekday": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    "instrument": ("piano", "violin", "guitar", "cello", "drums", "flute", "saxophone", "trumpet"),
    "vehicle": ("bicycle", "car", "motorcycle", "train", "bus", "scooter", "ferry", "tram"),
    "editor": ("Vim", "Emacs", "VS Code", "PyCharm", "Sublime Text", "Helix"),
    "codelang": ("Rust", "Python", "Go", "Kotlin", "Haskell", "TypeScript", "Elixir", "Java"),
    "small": tuple(str(number) for number in range(2, 13)),
    "age": tuple(str(number) for number in range(21, 80)),
    "hour": tuple(f"{number}" for number in range(5, 12)),
    "amount": ("150", "400", "900", "1200", "2500", "3000", "4500"),
    "year": tuple(str(number) for number in range(2008, 2026)),
    "condition": ("migraines", "asthma", "type 2 diabetes", "high blood pressure", "insomnia", "eczema", "back pain"),
    "topic": (
        "astronomy",
        "woodworking",
        "urban planning",
        "beekeeping",
        "cryptography",
        "medieval history",
        "marine biology",
    ),
    "seat": ("a window seat", "an aisle seat", "a seat near the exit", "a seat at the front"),
}


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fact.

    Attributes:
        wordings: ways to say it, with slots in braces.
        question: what it answers.
    """

    wordings: tuple[str, ...]
    question: str


@cache
def kinds() -> tuple[Kind, ...]:
    """All kinds, from `memory_facts.txt`."""
    lines = Path(__file__).with_suffix(".txt").read_text("utf-8").splitlines()
    rows = (line.partition(" ? ") for line in lines if not line.startswith("#"))
    return tuple(Kind(tuple(wordings.split(" | ")), question) for wordings, _, question in rows)


@dataclass(frozen=True, slots=True)
class Fact:
    """A fact, whatever its wording.

    Attributes:
        kind: place in `kinds()`.
        values: name of a slot -> what stands in it.
    """

    kind: int
    values: tuple[tuple[str, str], ...]

    def worded(self, wording: int) -> str:
        """The fact in one of its kind's wordings."""
        text = kinds()[self.kind].wordings[wording].format(**dict(self.values))
        return text[0].upper() + text[1:]

    @property
    def wordings(self) -> int:
        """How many there are."""
        return len(kinds()[self.kind].wordings)


def fact(kind: int, rng: random.Random) -> Fact:
    """A fact of one kind with values by chance, no two of them the same."""
    text, values = kinds()[kind].wordings[0], dict[str, str]()
    for slot in sorted({part.split("}")[0] for part in text.split("{")[1:]}):
        left = [value for value in SLOTS[slot.removesuffix("2")] if value not in values.values()]
        values[slot] = rng.choice(left)
    return Fact(kind, tuple(values.items()))


def changed(one: Fact, rng: random.Random) -> Fact:
    """Another fact, with one value of this one changed."""
    values = dict(one.values)
    slot = rng.choice(sorted(values))
    values[slot] = rng.choice([value for value in SLOTS[slot.removesuffix("2")] if value not in values.values()])
    return Fact(one.kind, tuple(values.items()))


def roughened(text: str, rng: random.Random) -> str:
    """The text as people and extractors write it a second time: without the full stop, with "The user", in lower case at the begin."""
    shapes = (
        text + ".", text.replace("User", "The user", 1), text.replace("The user", "User", 1), text + " ", text.replace("  ", " "),
        text[0].lower() + text[1:],
    )  # fmt: skip
    return rng.choice(shapes)


def facts_of_a_user(count: int, rng: random.Random) -> list[Fact]:
    """Different facts, many of them one value away from another."""
    found: dict[Fact, None] = {}
    while len(found) < count:
        new = (
            changed(rng.choice(list(found)), rng)
            if found and rng.random() < 0.5
            else fact(rng.randrange(len(kinds())), rng)
        )
        found[new] = None
    return list(found)


def stream(users: int, facts: int, share_repeated: float, *, seed: int) -> Iterator[tuple[str, str, Fact]]:
    """(user, text, fact) in mixed order; a share of them says again, in other words, what the same user's memories hold."""
    rng = random.Random(seed)
    told: list[tuple[str, str, Fact]] = []
    for number in range(users):
        own = facts_of_a_user(round(facts * (1 - share_repeated)), rng)
        wordings = {each: rng.randrange(each.wordings) for each in own}
        told += [(f"user-{number}", each.worded(wordings[each]), each) for each in own]
        for each in rng.choices(own, k=facts - len(own)):
            again = (wordings[each] + rng.randrange(1, each.wordings)) % each.wordings
            is_rough = rng.random() < 0.5
            text = roughened(each.worded(wordings[each]), rng) if is_rough else each.worded(again)
            told.append((f"user-{number}", text, each))
    rng.shuffle(told)
    yield from told
