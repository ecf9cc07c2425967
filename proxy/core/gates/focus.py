"""What a question asks for: its question words, whether it wants yes or no, the tense, and whose matter it is."""

from __future__ import annotations

from collections.abc import Sequence

from proxy.core.gates.tokens import Kind, Token

Focus = frozenset[str]

# Question words and their kin: read here, so not content.
DROPPED = frozenset({
    "what", "which", "who", "whom", "whose", "when", "where", "why", "how", "whether", "can_i", "may_i", "should_i",
    "must_i", "what's",
})  # fmt: skip
_QUESTION_WORDS = {
    "who": "who",
    "whom": "who",
    "whose": "who",
    "when": "when",
    "where": "where",
    "why": "why",
    "whether": "polar:is",
}
MODALS = {
    "can_i": "polar:can", "may_i": "polar:can", "should_i": "polar:should", "must_i": "polar:must",
    "can": "polar:can", "could": "polar:can", "may": "polar:can", "might": "polar:can",
    "should": "polar:should", "ought": "polar:should", "shall": "polar:should", "must": "polar:must",
    "will": "polar:will", "would": "polar:would",
    "is": "polar:is", "are": "polar:is", "am": "polar:is", "do": "polar:is", "does": "polar:is", "did": "polar:is", "was": "polar:is",
    "were": "polar:is", "has": "polar:is", "have": "polar:is", "had": "polar:is",
}  # fmt: skip
_MEASURES = frozenset({
    "many", "much", "long", "often", "soon", "fast", "deep", "late", "early", "well", "bad", "common", "likely",
    "size", "height", "weight", "distance", "age", "hot", "cold",
})  # fmt: skip
WHAT_MEASURES = frozenset({
    "time", "year", "day", "month", "size", "height", "weight", "distance", "age", "cost", "depth", "width", "temperature",
    "population",
})  # fmt: skip
_WAYS = frozenset({
    "way", "ways", "method", "methods", "procedure", "procedures", "process", "steps", "step", "approach",
    "technique", "techniques", "instructions",
})  # fmt: skip
_POLITE = frozenset({
    "please", "so", "and", "but", "ok", "okay", "hi", "hello", "hey", "then", "well", "also",
})  # fmt: skip


_ASKING = frozenset({"how", "what", "which", *_QUESTION_WORDS, *MODALS})


def focus_of(tokens: Sequence[Token]) -> Focus:
    """The set of things asked for, after rewriting; empty for a plain noun phrase, an order or a `what` question.

    `how`, `who`, `when`, `where`, `why`, `how many`, `what year`, `polar:can` ... A clause's own "when" or "who" is among them:
    then both wordings must have it.
    """
    found: set[str] = set()
    starts, asked = True, False  # at the start of a sentence; a question word was read in this sentence
    for i, token in enumerate(tokens):
        text = token.text
        if text not in _ASKING:
            if token.kind is Kind.STOP:
                starts, asked = text in ".!?\n", False
            elif starts and text not in _POLITE:
                starts = False
            continue
        before = tokens[i - 1].text if i else ""
        after = tokens[i + 1].text if i + 1 < len(tokens) else ""
        asks = not asked or before in {"and", "or"}  # else it opens a clause: "people who", "when pregnant"
        what = _asked_by(text, after) if asks else None
        if what is None and text in MODALS and not asked and (starts or text.endswith("_i")):
            what = MODALS[text]
        if what is not None:
            found.add(what)
            asked = True
        starts = False
    if "how" not in found and found <= {"what"} and any(token.text in _WAYS for token in tokens):
        found.add("how")
    if "what time" in found:
        found = (found - {"what time"}) | {"when"}
    if "how" in found and any(token.text in _WAYS for token in tokens):
        found.discard("what")
    return frozenset(found)


def _asked_by(text: str, after: str) -> str | None:
    """What a question word asks for, None for another word."""
    if text == "how":
        return f"how {after}" if after in _MEASURES else "how"
    if text in {"what", "which"}:
        return f"what {after}" if after in WHAT_MEASURES else "what"
    return _QUESTION_WORDS.get(text)


_PERFECT_OR_PASSIVE = frozenset({"have", "has", "had", "be", "been", "is", "are", "am", "being", "get"})


def tense_of(words: Sequence[str], pasts: frozenset[str]) -> str:
    """ "past", "future" or "present", by the auxiliaries and the irregular pasts."""
    if "did" in words or "was" in words or "were" in words:
        return "past"
    if len(words) > 1 and words[0] in {"who", "what"} and words[1].endswith("ed") and words[1] != "need":
        return "past"
    if "will" in words or "shall" in words or ("going" in words and "to" in words and "gonna" not in words):
        return "future"
    if not pasts.isdisjoint(words) and _PERFECT_OR_PASSIVE.isdisjoint(words):
        return "past"
    return "present"


_PERSONS = {
    "my": "my",
    "mine": "my",
    "your": "your",
    "yours": "your",
    "i": "i",
    "me": "i",
    "we": "i",
    "us": "i",
    "you": "you",
}


_GENDERS = {
    "he": "he",
    "him": "he",
    "his": "he",
    "himself": "he",
    "she": "she",
    "her": "she",
    "hers": "she",
    "herself": "she",
}


def genders_of(words: Sequence[str]) -> tuple[str, ...]:
    """ "he" and "she" in order, as far as a pronoun or possessive speaks of him or her."""
    return tuple([_GENDERS[word] for word in words if word in _GENDERS])


_UNABLE_AFTER = frozenset({
    "know", "sure", "understand", "able", "find", "remember", "work", "working", "see", "seem", "quite", "get", "figure", "idea", "clue",
})  # fmt: skip
_NO_DENIALS = frozenset({"unable", "nothing", "nobody", "nowhere", "hardly", "barely"})
_ABLE = frozenset({"can", "could"})
_CANNOT = frozenset({"cannot", "cant", "couldnt"})
_OWN = frozenset({"i", "we", "my", "our", "why"})


def denials_in(words: Sequence[str], negations: frozenset[str]) -> int:
    """How many negations deny a thing: not those of "I can't", "I don't know how", "or not", "no idea"."""
    if negations.isdisjoint(words):
        return 0
    is_own = not _OWN.isdisjoint(words)
    return len([i for i, word in enumerate(words) if word in negations and _denies(words, i, is_own=is_own)])


def _denies(words: Sequence[str], at: int, *, is_own: bool) -> bool:
    word, before = words[at], words[at - 1] if at else ""
    is_inability = word in _CANNOT or before in _ABLE
    if word in _NO_DENIALS or before == "or" or (is_inability and (is_own or at == (before in _ABLE))):
        return False
    return _UNABLE_AFTER.isdisjoint(words[at + 1 : at + 3])


PRONOUNS = {"i": "i", "me": "i", "we": "i", "us": "i", "you": "you"}
PERFECT = frozenset({"have", "has", "had"})
MODAL = frozenset({"can", "could", "may", "should", "must", "will"})


# What a company has and a caller asks about: "your refund policy" is the refund policy.
_OF_A_COMPANY = frozenset({
    "policy", "policies", "hours", "fee", "fees", "price", "prices", "pricing", "rates", "shipping", "delivery", "return", "returns",
    "refund", "refunds", "warranty", "guarantee", "menu", "store", "stores", "shop", "office", "offices", "terms", "services", "website",
    "customer", "premium",
})  # fmt: skip


def persons_of(words: Sequence[str]) -> frozenset[str]:
    """Whose matter it is; a company's "your" is nobody's."""
    found = frozenset([_PERSONS[word] for word in words if word in _PERSONS])
    if "your" in found and all(
        _is_of_a_company(words[i + 1 : i + 4]) for i, word in enumerate(words) if word == "your"
    ):
        return found - {"your"}
    return found


def _is_of_a_company(words: Sequence[str]) -> bool:
    """Whether the words after "your" name a company's matter, and no taste or opinion of the one addressed."""
    return not _OF_A_COMPANY.isdisjoint(words) and _OF_A_PERSON.isdisjoint(words)


_OF_A_PERSON = frozenset(
    {"favorite", "favourite", "own", "personal", "ideal", "best", "opinion", "view", "thoughts", "name"}
)


def wants_one(words: Sequence[str]) -> bool:
    """Whether a text opens with "give me a", "I need a" or the like."""
    opening = words[1:] if words[:1] == ("please",) else words
    return (opening[:2] in _WANTING and opening[2:3] in _ONE_OF) or (
        opening[:3] == ("i", "would", "like") and opening[3:4] in _ONE_OF
    )


_WANTING = frozenset({("give", "me"), ("i", "need"), ("i", "want"), ("make", "me")})
_ONE_OF = frozenset({("a",), ("an",), ("some",)})


_SELF = {
    "i": frozenset(["am", "was", "have", "had", "live", "work", "lost", "just", "got", "bought", "use", "moved"]),
    "we": frozenset(["are", "were", "have", "had"]),
}
_INVERTED = frozenset({"can", "do", "should", "could", "would", "did", "am", "have", "may", "must", "will", "was"})


def tells_of_self(words: Sequence[str]) -> bool:
    """Whether a statement about the writer stands in the text: "I am ...", "I have ...", but not "should I have ..."."""
    return not _SELF.keys().isdisjoint(words) and any(
        word in _SELF and after in _SELF[word] and before not in _INVERTED
        for before, word, after in zip(("", *words), words, words[1:], strict=False)
    )
