"""Labels without a model: which sentences state something of the user, the names in them, and what they are about. English; pure.

It errs towards leaving out: what is no plain statement in the first person is not remembered, since nobody reads it over.
"""

from __future__ import annotations

import re

MAX_SENTENCES = 20
"""Of one message: a longer one is a document, and not about its writer."""
MAX_CHARS = 500
"""Of one sentence, for the same reason."""
MAX_ENTITIES = 10
MAX_TOPICS = 5

_SENTENCE = re.compile(r"(?<=[.!?…])(?<!\bDr\.)(?<!\bMr\.)(?<!\bMrs\.)(?<!\bMs\.)(?<!\bSt\.)[\"')\]]*\s+|\n+")
_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`", re.DOTALL)
_OWN = re.compile(
    r"\b(?:I'm|I am|I was|I've|I have|I had|I'd (?:like|love|prefer|rather)|I will|I'll|I (?:also |really |usually |always |never |often "
    r"|only |still |now |currently |just |mostly |don't |do not |can't |cannot |didn't |did not |used to |recently |actually )*"
    r"(?:like|love|hate|prefer|dislike|enjoy|live|work|use|need|want|eat|drink|speak|study|play|own|drive|run|moved|bought|got|lost"
    r"|started|stopped|finished|learned|went|visited|met|grew|plan|hope|avoid|believe|remember|know|take|teach|travel|write|build|keep"
    r"|joined|left|married|broke|changed|switched|booked|ordered|signed)"
    r"|my [\w' -]{1,60}? (?:is|are|was|were|has|have|lives?|works?|likes?|loves?|hates?|prefers?|needs?|wants?"
    r"|starts?|started|goes|went|plays?|studies"
    r"|speaks?|died|comes|can't|cannot|doesn't)"
    r"|we(?:'re|'ve| are| were| have| had| live| moved| bought| got| use| plan| need| want)|call me)\b",
    re.IGNORECASE,
)
_NOT_STATED = re.compile(
    r"^(?:if|suppose|imagine|assuming|say|should|could|can|would|will|do|does|did|am|are|is|have|has|what|which|who|whom|whose|when|where|why"
    r"|how|let's|please|tell|write|give|show|explain|translate|rewrite|summari[sz]e|act|pretend|help)\b",
    re.IGNORECASE,
)
_ASKS = re.compile(
    r"\bI(?:'d| would| want| need|'ll| will)? (?:like|want|need|love)? ?(?:to know|you to|to ask|to understand|help)\b",
    re.IGNORECASE,
)
_NAME = re.compile(r"(?<![\w'])[A-ZÀ-ÖØ-Þ][\w'’.&-]*\w(?: (?:(?:of|de|la|van|von|the|&) )?[A-ZÀ-ÖØ-Þ0-9][\w'’&-]*)*")
_NO_NAMES = frozenset(
    "i i'm i've i'd i'll my we we're we've our the a an this that it he she they and but so also yes no ok okay hi hello hey".split()  # noqa: SIM905
)
_WORD = re.compile(r"[^\W\d_]{4,}")
_NO_TOPICS = frozenset(
    """
    about after again also always another because been before being both cannot could currently didn does doing don done
    each every from going have having here hers himself hope into itself just know like likes live lives lived love
    loves made make many mine more most mostly much need needs never often only other ours over plan please prefer
    prefers really recently same should since some sometimes started still such take than that their them then there
    these they thing things this those though through today together tomorrow under until used using usually very want
    wants wanted were what when where which while whom whose will with without work works would year years yesterday
    your yours yourself actually really""".split()  # noqa: SIM905  a list of a hundred quoted words is no easier to read
)


def own_statements(text: str) -> list[str]:
    """The sentences of a user's message in which the user plainly states something of himself or herself, in their order."""
    stated = []
    for sentence in _SENTENCE.split(_CODE.sub(" ", text))[:MAX_SENTENCES]:
        plain = " ".join(sentence.split()).strip("\"'()[]*-> ").replace("’", "'")
        if len(plain) > MAX_CHARS or plain.endswith("?"):
            continue
        if _OWN.search(plain) and not _NOT_STATED.match(plain) and not _ASKS.search(plain):
            stated.append(plain)
    return stated


def entities_of(text: str) -> tuple[str, ...]:
    """Names in a sentence, as they are written: words with a capital, and runs of them; the first word alone does not count as one."""
    found: dict[str, None] = {}
    for match in _NAME.finditer(text):
        words = match[0].split()
        while words and (words[0].lower() in _NO_NAMES or (match.start() == 0 and words[0] == text.split()[0])):
            words = words[1:]
        if words:
            found[" ".join(words).rstrip(".'’")] = None
    return tuple(name for name in found if 1 < len(name) <= 100)[:MAX_ENTITIES]


def topics_of(text: str) -> tuple[str, ...]:
    """What a sentence is about: its longer words in lower case, without names and words that any sentence may hold."""
    names = {word for name in entities_of(text) for word in re.findall(r"\w+", name.lower())}
    words = dict.fromkeys(word.lower() for word in _WORD.findall(text))
    return tuple(word for word in words if word not in _NO_TOPICS and word not in names)[:MAX_TOPICS]
