"""Made-up facts about made-up people: each in several wordings, and beside it facts that differ in one thing that matters. Seeded, so the same each time.

What two facts differ in is known by how they are made: the same kind and values in another wording say the same; another number, name, thing or
a "not" makes another fact. Kinds with an even place in `KINDS` were looked at when the level for merging was chosen, those with an odd one were not.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

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

KINDS: tuple[tuple[str, ...], ...] = (
    ("User lives in {city}", "The user lives in {city}.", "User's home is in {city}", "User resides in {city}"),
    ("User is allergic to {allergen}", "The user has an allergy to {allergen}.", "User has a {allergen} allergy", "User suffers from an allergy to {allergen}"),
    ("User likes {food}", "The user enjoys {food}.", "User is fond of {food}", "User really likes {food}"),
    ("User does not like {food}", "The user doesn't like {food}.", "User dislikes {food}", "User is not fond of {food}"),
    ("User works as a {job} at {company}", "The user is a {job} at {company}.", "User is employed at {company} as a {job}", "User has a job as a {job} with {company}"),
    ("User's {relative} is called {name}", "The name of the user's {relative} is {name}.", "User has a {relative} named {name}", "User's {relative}'s name is {name}"),
    ("User has {small} children", "The user is a parent of {small} children.", "User has {small} kids", "There are {small} children in the user's family"),
    ("User is {age} years old", "The user's age is {age}.", "User is {age}", "User is aged {age}"),
    ("User's favorite color is {color}", "The user's favourite colour is {color}.", "User likes the color {color} best", "{color} is the user's favorite color"),
    ("User plays {sport} every {weekday}", "The user plays {sport} on {weekday}s.", "Each {weekday} the user plays {sport}", "On {weekday}s user plays {sport}"),
    ("User speaks {language}", "The user can speak {language}.", "User is a speaker of {language}", "User knows how to speak {language}"),
    ("User is learning {language}", "The user is studying {language}.", "User is currently learning {language}", "User takes lessons in {language}"),
    ("User has a {pet} named {petname}", "The user's {pet} is called {petname}.", "User owns a {pet} called {petname}", "User has a {pet} whose name is {petname}"),
    ("User wants to travel to {country} in {month}", "The user would like to visit {country} in {month}.", "User hopes to go to {country} in {month}", "In {month} the user wants to travel to {country}"),
    ("User drinks {drink} every morning", "The user has {drink} each morning.", "Every morning the user drinks {drink}", "User drinks {drink} in the morning every day"),
    ("User plays the {instrument}", "The user can play the {instrument}.", "User is a {instrument} player", "User knows how to play the {instrument}"),
    ("User commutes to work by {vehicle}", "The user goes to work by {vehicle}.", "User travels to work by {vehicle}", "User gets to the office by {vehicle}"),
    ("User prefers {editor} for writing {codelang}", "The user's preferred editor for {codelang} is {editor}.", "For {codelang}, user prefers {editor}", "User prefers to write {codelang} in {editor}"),
    ("User gets up at {hour} in the morning", "The user wakes up at {hour} am.", "User's day starts at {hour} am", "User rises at {hour} in the morning"),
    ("User has a budget of {amount} dollars for the trip to {country}", "The user's budget for the trip to {country} is ${amount}.", "For the {country} trip the user can spend {amount} dollars", "User's {country} trip budget is {amount} dollars"),
    ("User graduated in {year}", "The user finished university in {year}.", "User got a degree in {year}", "In {year} the user graduated"),
    ("User suffers from {condition}", "The user has {condition}.", "User is affected by {condition}", "User has been diagnosed with {condition}"),
    ("User is interested in {topic}", "The user has an interest in {topic}.", "User finds {topic} interesting", "{topic} interests the user"),
    ("User prefers {seat} on flights", "The user would rather have {seat} when flying.", "On flights, user prefers {seat}", "When flying the user likes {seat}"),
    ("User moved from {city} to {city2}", "The user relocated from {city} to {city2}.", "User left {city} and moved to {city2}", "User has moved to {city2} from {city}"),
    ("User's {relative} lives in {city}", "The user has a {relative} in {city}.", "User's {relative} has a home in {city}", "The {relative} of the user lives in {city}"),
    ("User listens to {genre} while working", "The user listens to {genre} at work.", "While working, user listens to {genre}", "User plays {genre} while working"),
    ("User never drinks {drink}", "The user doesn't drink {drink}.", "User does not ever drink {drink}", "User avoids {drink}"),
    ("User met {name} in {city} in {year}", "The user got to know {name} in {city} in {year}.", "In {year} user met {name} in {city}", "User first met {name} in {city} in {year}"),
    ("{name} reports to {name2}", "{name2} is {name}'s manager.", "{name}'s boss is {name2}", "{name} works under {name2}"),
)  # fmt: skip
CLOSE = {"{city2}": "city", "{name2}": "name"}


@dataclass(frozen=True, slots=True)
class Fact:
    """A fact, whatever its wording.

    Attributes:
        kind: place in `KINDS`.
        values: name of a slot -> what stands in it.
    """

    kind: int
    values: tuple[tuple[str, str], ...]

    def worded(self, wording: int) -> str:
        """The fact in one of its kind's wordings."""
        text = KINDS[self.kind][wording].format(**dict(self.values))
        return text[0].upper() + text[1:]

    @property
    def wordings(self) -> int:
        """How many there are."""
        return len(KINDS[self.kind])


def fact(kind: int, rng: random.Random) -> Fact:
    """A fact of one kind with values by chance, no two of them the same."""
    text, values = KINDS[kind][0], dict[str, str]()
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
            else fact(rng.randrange(len(KINDS)), rng)
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
