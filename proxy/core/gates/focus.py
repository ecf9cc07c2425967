"""What a question asks for: its question words, whether it wants yes or no, the tense, and whose matter it is."""

from __future__ import annotations

from collections.abc import Sequence, Set

from proxy.core.gates.tokens import Kind, Token

Focus = frozenset[str]

# Question words and their kin: read here, so not content.
DROPPED = frozenset("what which who whom whose when where why how whether can_i may_i should_i must_i what's".split())
_QUESTION_WORDS = {
    "who": "who",
    "whom": "who",
    "whose": "who",
    "when": "when",
    "where": "where",
    "why": "why",
    "whether": "polar:is",
}
_MODALS = {
    "can_i": "polar:can", "may_i": "polar:can", "should_i": "polar:should", "must_i": "polar:must",
    "can": "polar:can", "could": "polar:can", "may": "polar:can", "might": "polar:can",
    "should": "polar:should", "ought": "polar:should", "shall": "polar:should", "must": "polar:must",
    "will": "polar:will", "would": "polar:would",
    "is": "polar:is", "are": "polar:is", "am": "polar:is", "do": "polar:is", "does": "polar:is", "did": "polar:is", "was": "polar:is",
    "were": "polar:is", "has": "polar:is", "have": "polar:is", "had": "polar:is",
}  # fmt: skip
_MEASURES = frozenset(
    "many much long often soon fast deep late early well bad common likely size height weight distance age hot cold".split()
)
_WHAT_MEASURES = frozenset("time year day month size height weight distance age".split())
_WAYS = frozenset(
    "way ways method methods procedure procedures process steps step approach technique techniques instructions".split()
)
_POLITE = frozenset("please so and but ok okay hi hello hey then well also".split())


def focus_of(tokens: Sequence[Token]) -> Focus:
    """The set of things asked for, after rewriting; empty for a plain noun phrase, an order or a `what` question.

    `how`, `who`, `when`, `where`, `why`, `how many`, `what year`, `polar:can` ... A clause's own "when" or "who" is among them:
    then both wordings must have it.
    """
    found: set[str] = set()
    starts = True
    for i, token in enumerate(tokens):
        text = token.text
        after = tokens[i + 1].text if i + 1 < len(tokens) else ""
        if token.kind is Kind.STOP:
            starts = token.text in ".!?\n"
            continue
        if text in _QUESTION_WORDS:
            found.add(_QUESTION_WORDS[text])
        elif text == "how":
            found.add(f"how {after}" if after in _MEASURES else "how")
        elif text in {"what", "which"}:
            found.add(f"what {after}" if after in _WHAT_MEASURES else "what")
        elif (starts or text.endswith("_i")) and text in _MODALS:
            found.add(_MODALS[text])
        if text not in _POLITE:
            starts = False
    if "how" not in found and found <= {"what"} and any(token.text in _WAYS for token in tokens):
        found.add("how")
    if "what time" in found:
        found = (found - {"what time"}) | {"when"}
    return frozenset(found - {"what"}) or (frozenset({"what"}) if found else frozenset())


def tense_of(words: Sequence[str], pasts: Set[str]) -> str:
    """ "past", "future" or "present", by the auxiliaries and the irregular pasts."""
    if "did" in words or "was" in words or "were" in words:
        return "past"
    if "will" in words or "shall" in words or ("going" in words and "to" in words and "gonna" not in words):
        return "future"
    perfect = {"have", "has", "had", "be", "been", "is", "are", "am", "being", "get"}
    if any(word in pasts for word in words) and not perfect.intersection(words):
        return "past"
    return "present"


_PERSONS = {
    "my": "my",
    "our": "my",
    "mine": "my",
    "your": "your",
    "yours": "your",
    "i": "i",
    "me": "i",
    "we": "i",
    "us": "i",
    "you": "you",
}


def persons_of(words: Sequence[str]) -> frozenset[str]:
    """Whose matter it is."""
    return frozenset(_PERSONS[word] for word in words if word in _PERSONS)


_SELF = {
    "i": frozenset("am was have had live work lost just got bought use moved".split()),
    "we": frozenset("are were have had".split()),
}
_INVERTED = frozenset({"can", "do", "should", "could", "would", "did", "am", "have", "may", "must", "will", "was"})


def tells_of_self(words: Sequence[str]) -> bool:
    """Whether a statement about the writer stands in the text: "I am ...", "I have ...", but not "should I have ..."."""
    return any(
        word in _SELF and after in _SELF[word] and before not in _INVERTED
        for before, word, after in zip(("", *words), words, words[1:], strict=False)
    )
