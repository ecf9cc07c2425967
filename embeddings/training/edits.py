"""Changes of a question, by rule: some keep its answer, some change it.

Every edit takes a text and a random source and gives the new text, or None where it does not apply. They are a teacher, not a
judge: an edit is right nearly always, not always ("Is tea good?" / "Is tea bad?" could share an answer).
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence

Edit = Callable[[str, random.Random], str | None]

_WORD = re.compile(r"[A-Za-z][A-Za-z'-]*[A-Za-z]|[A-Za-z]")
_NUMBER = re.compile(r"(?<![\w.])\d+(?:[.,]\d+)*(?![\w])")
_STOP_WORDS = (
    "a an the of in on at to for from by with and or but if then than as is are was were be been being am do does did doing "
    "have has had i you he she it we they me him her us them my your his its our their mine yours this that these those there "
    "here what which who whom whose when where why how can could should would will shall may might must not no nor so too very "
    "just also any some all each every both either neither about into over under again more most much many few own same other "
    "such only s t d ll m re ve don doesn isn aren won"
)
_STOP = frozenset(_STOP_WORDS.split())

_ANTONYMS = (
    "increase/decrease gain/lose win/lose buy/sell lend/borrow import/export open/close start/stop begin/end enable/disable "
    "allow/forbid accept/reject accept/decline approve/deny add/remove add/delete install/uninstall upload/download send/receive "
    "push/pull lock/unlock encrypt/decrypt connect/disconnect login/logout subscribe/unsubscribe activate/deactivate hire/fire "
    "marry/divorce love/hate like/dislike good/bad best/worst better/worse high/low higher/lower highest/lowest big/small "
    "bigger/smaller large/small larger/smaller largest/smallest long/short longer/shorter tall/short fast/slow faster/slower "
    "hot/cold warm/cool rich/poor strong/weak hard/easy hard/soft cheap/expensive cheapest/dearest safe/dangerous healthy/unhealthy "
    "legal/illegal possible/impossible happy/sad early/late earlier/later first/last old/new old/young oldest/youngest "
    "oldest/newest more/less most/least many/few before/after above/below inside/outside indoor/outdoor up/down left/right "
    "north/south east/west top/bottom front/back day/night morning/evening summer/winter male/female man/woman men/women boy/girl "
    "boys/girls boyfriend/girlfriend husband/wife father/mother brother/sister son/daughter king/queen advantages/disadvantages "
    "advantage/disadvantage pros/cons benefits/risks causes/effects causes/cures symptoms/treatments strengths/weaknesses "
    "maximum/minimum positive/negative public/private domestic/international temporary/permanent internal/external "
    "incoming/outgoing credit/debit deposit/withdrawal deposit/withdraw profit/loss buyer/seller lender/borrower landlord/tenant "
    "employer/employee parent/child teacher/student doctor/patient with/without include/exclude pass/fail arrive/depart "
    "arrival/departure ascending/descending horizontal/vertical input/output client/server acute/chronic pregnant/breastfeeding "
    "asset/liability inflation/deflation bull/bear fixed/variable physical/virtual single/joint personal/business gross/net"
)
_UNITS = (
    "kg/pounds kilograms/pounds km/miles kilometers/miles meters/feet cm/inches celsius/fahrenheit liters/gallons "
    "minutes/hours hours/days days/weeks weeks/months months/years seconds/minutes dollars/euros euros/pounds dollars/rupees "
    "usd/eur eur/gbp monday/tuesday tuesday/thursday friday/saturday saturday/sunday january/february march/april may/june "
    "june/july august/september october/november december/january today/tomorrow yesterday/today weekly/monthly monthly/yearly "
    "daily/weekly mg/ml gb/mb breakfast/dinner lunch/dinner"
)
_OTHERS = (
    "python/java javascript/typescript c/rust linux/windows windows/mac android/iphone ios/android mysql/postgres excel/word "
    "chrome/firefox google/microsoft amazon/google facebook/instagram twitter/facebook aws/azure cat/dog cats/dogs apple/banana "
    "coffee/tea milk/water chicken/beef diabetes/asthma aspirin/ibuprofen flu/cold knee/shoulder heart/liver lung/kidney "
    "children/adults teenagers/adults beginners/experts car/bike bus/train london/paris paris/berlin india/china usa/uk "
    "canada/australia germany/france french/spanish english/german stocks/bonds gold/silver bitcoin/ethereum visa/mastercard "
    "checking/savings card/cheque passport/licence phone/email"
)
_SYNONYMS = (
    "buy/purchase begin/start big/large fix/repair quick/fast rich/wealthy get/obtain need/require help/assist choose/pick "
    "movie/film films/movies kids/children car/automobile sick/ill doctor/physician job/occupation answer/reply error/mistake "
    "cancel/annul modify/change show/display delete/erase find/locate happen/occur build/construct photo/picture phone/telephone "
    "tv/television laptop/notebook begin/commence end/finish allow/permit difficult/hard smart/clever correct/right wrong/incorrect "
    "quickly/rapidly about/regarding maybe/perhaps shop/store holiday/vacation autumn/fall pants/trousers cab/taxi "
    "company/firm approximately/roughly main/primary reason/cause method/way ways/methods tips/advice"
)
_PERSONS = (
    "he/she his/her him/her himself/herself mother/father mom/dad wife/husband son/daughter brother/sister my/your "
    "boyfriend/girlfriend uncle/aunt nephew/niece grandmother/grandfather"
)
_CONTRACTIONS = (
    ("what is", "what's"), ("who is", "who's"), ("where is", "where's"), ("how is", "how's"), ("do not", "don't"),
    ("does not", "doesn't"), ("did not", "didn't"), ("is not", "isn't"), ("are not", "aren't"), ("can not", "can't"),
    ("cannot", "can't"), ("will not", "won't"), ("should not", "shouldn't"), ("i am", "i'm"), ("i have", "i've"),
    ("it is", "it's"), ("that is", "that's"), ("would not", "wouldn't"), ("could not", "couldn't"), ("i would", "i'd"),
)  # fmt: skip
_OPENINGS = (
    (r"how (?:do|can) i ", ("how can I ", "how do I ", "how to ", "how do you ", "how does one ", "what is the way to ", "how would I ",
                            "ways to ", "what steps do I take to ", "I want to know how to ", "I need to ", "help me ")),
    (r"how to ", ("how do I ", "how can I ", "how does one ", "steps to ", "what is the way to ")),
    (r"what (?:is|are) ", ("what's ", "tell me what is ", "can you tell me what is ", "explain ", "define ", "what exactly is ")),
    (r"what's the best ", ("which is the best ", "what is the best ")),
    (r"what is the best ", ("which is the best ", "what's the best ", "best ")),
    (r"why (?:do|does|is|are) ", ("what is the reason that ", "how come ")),
    (r"is it possible to ", ("can I ", "can you ", "is there a way to ", "could I ")),
    (r"can i ", ("am I able to ", "is it possible to ", "may I ", "could I ")),
    (r"i want to ", ("I would like to ", "I'd like to ", "I need to ", "I wish to ", "can I ", "help me ")),
    (r"i need to ", ("I want to ", "I'd like to ", "I have to ", "help me ")),
)  # fmt: skip
_FRAMES = (
    "Can you tell me, {q}", "Please tell me: {q}", "Hi! {q}", "Hello, {q} Thanks!", "Quick question: {q}", "{q} Thank you.",
    "I was wondering, {q}", "Hey, {q}", "I'd like to know: {q}", "{q} Please help.", "Could you please explain: {q}", "So, {q}",
    "Just curious: {q}", "Good morning. {q}", "{q} I'd appreciate any help.", "Question: {q}", "{q} Please answer.", "Um, {q}",
)  # fmt: skip
_ADDITIONS = (
    "in Germany", "in Canada", "for children", "for beginners", "for free", "in 2019", "in 2023", "without a doctor", "on Windows",
    "on an iPhone", "during pregnancy", "under $500", "in less than a week", "for a company", "abroad", "at night", "by phone",
    "with a credit card", "on weekends", "in version 3", "for women", "over 65", "in Spanish", "after surgery", "using Python",
    "in the 19th century", "if I am a student", "with diabetes", "online", "near me", "without internet", "for two people",
)  # fmt: skip
_FOCUS = ("who", "when", "where", "why", "how", "how much", "how many", "how long", "what")
_NUMBER_WORDS = (
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
)


def _table(text: str) -> dict[str, list[str]]:
    table: dict[str, list[str]] = {}
    for left, right in (entry.split("/") for entry in text.split()):
        table.setdefault(left, []).append(right)
        table.setdefault(right, []).append(left)
    return table


_OPPOSITE, _UNIT, _OTHER, _SYNONYM, _PERSON = map(_table, (_ANTONYMS, _UNITS, _OTHERS, _SYNONYMS, _PERSONS))


def swap_from(table: dict[str, list[str]]) -> Edit:
    """Make an edit that replaces one word by a partner from the table."""

    def edit(text: str, rng: random.Random) -> str | None:
        spots = [match for match in _WORD.finditer(text) if match[0].lower() in table]
        if not spots:
            return None
        spot = rng.choice(spots)
        return _put(text, spot, _cased(rng.choice(table[spot[0].lower()]), spot[0]))

    return edit


def change_number(text: str, rng: random.Random) -> str | None:
    """Change one number, a little or a lot."""
    spots = list(_NUMBER.finditer(text))
    if not spots:
        return None
    spot = rng.choice(spots)
    return _put(text, spot, other_number(spot[0], rng))


def other_number(number: str, rng: random.Random) -> str:
    """Give another number of the same look."""
    digits = [index for index, char in enumerate(number) if char.isdigit()]
    while True:
        chars = list(number)
        for index in rng.sample(digits, rng.randint(1, min(2, len(digits)))):
            chars[index] = str(rng.randint(1 if index == 0 else 0, 9))
        changed = "".join(chars)
        if changed != number:
            return changed


def negate(text: str, rng: random.Random) -> str | None:
    """Say the opposite with a "not"."""
    opening = re.match(r"(?i)(is|are|was|were|can|could|should|would|will|does|do|did)\s+(\w+)\s", text)
    if opening and rng.random() < 0.7:
        return f"{text[: opening.end() - 1]} not{text[opening.end() - 1 :]}"
    inside = list(re.finditer(r"(?i)\b(can|could|should|would|will|must|is|are|was|were)\b(?! not|n't)", text))
    inside = [match for match in inside if match.start() > 0]
    if inside:
        spot = rng.choice(inside)
        subject = re.match(r"\s+(i|you|we|they|he|she|it|one|people)\b", text[spot.end() :], re.IGNORECASE)
        end = spot.end() + (subject.end() if subject else 0)
        return f"{text[:end]} not{text[end:]}"
    infinitive = re.search(r"(?i)\b(ways?|how|want|need|reasons?|try|best) to\b", text)
    if infinitive:
        return f"{text[: infinitive.end() - 2]}not to{text[infinitive.end() :]}"
    return None


def change_direction(text: str, _rng: random.Random) -> str | None:
    """Turn "from A to B", "A to B" or "A than B" round."""
    for pattern in (
        r"(?i)\bfrom (\w+) to (\w+)\b",
        r"(?i)\b(\w+) better than (\w+)\b",
        r"(?i)\bconvert (\w+) to (\w+)\b",
        r"(?i)\b(\w+) (?:instead of|over|rather than|before|after|into) (\w+)\b",
    ):
        spot = re.search(pattern, text)
        if spot and spot[1].lower() != spot[2].lower() and not {spot[1].lower(), spot[2].lower()} & _STOP:
            (a, b), (c, d) = spot.span(1), spot.span(2)
            return text[:a] + text[c:d] + text[b:c] + text[a:b] + text[d:]
    return None


def change_focus(text: str, rng: random.Random) -> str | None:
    """Ask for something else of the same thing: when for where, who for why."""
    opening = re.match(r"(?i)(who|when|where|why|how|what) (is|are|was|were|do|does|did|can|should)\b", text)
    if not opening:
        return None
    other = rng.choice([focus for focus in _FOCUS if focus != opening[1].lower()])
    return _cased(other, opening[1]) + text[opening.end(1) :]


def add_fact(text: str, rng: random.Random) -> str | None:
    """Narrow the question by a place, a time, a group or a means."""
    bare = text.rstrip(" ?.!")
    addition = rng.choice(_ADDITIONS)
    return None if addition.split()[-1].lower() in text.lower() else f"{bare} {addition}{text[len(bare) :].rstrip()}"


def swap_words(text: str, rng: random.Random) -> str | None:
    """Let two content words change places, where no "and", "or" or "between" makes that harmless."""
    if re.search(r"(?i)\b(and|or|vs|versus|between|same|compare[d]?)\b|[,/&]", text):
        return None
    spots = [match for match in _WORD.finditer(text) if match[0].lower() not in _STOP and len(match[0]) > 2]
    capitals = [match for match in spots if match[0][0].isupper() and match.start() > 0]
    pool = capitals if len(capitals) > 1 else spots
    if len(pool) < 2:
        return None
    first, second = sorted(rng.sample(pool, 2), key=lambda match: match.start())
    if first[0].lower() == second[0].lower() or text[first.end() : second.start()].strip() == "":
        return None  # neighbours are often one name, or an adjective that may follow
    return text[: first.start()] + second[0] + text[first.end() : second.start()] + first[0] + text[second.end() :]


def contract(text: str, rng: random.Random) -> str | None:
    """Contract, or spell out, one pair of words."""
    options = [*_CONTRACTIONS, *((short, long) for long, short in _CONTRACTIONS)]
    fitting = [(old, new) for old, new in options if re.search(rf"(?i)\b{re.escape(old)}\b", text)]
    if not fitting:
        return None
    old, new = rng.choice(fitting)
    return re.sub(rf"(?i)\b{re.escape(old)}\b", lambda match: _cased(new, match[0]), text, count=1)


def reword_opening(text: str, rng: random.Random) -> str | None:
    """Ask the same in another form."""
    for pattern, options in _OPENINGS:
        opening = re.match(f"(?i){pattern}", text)
        if opening:
            chosen = rng.choice(options)
            return chosen[0].upper() + chosen[1:] + text[opening.end() :]
    return None


def frame(text: str, rng: random.Random) -> str | None:
    """Wrap in a courtesy."""
    return rng.choice(_FRAMES).format(q=text)


def misspell(text: str, rng: random.Random) -> str | None:
    """Make one typing error in a word of five letters or more: two letters turned, one lost or doubled."""
    spots = [match for match in _WORD.finditer(text) if len(match[0]) >= 5 and match[0].islower()]
    if not spots:
        return None
    spot = rng.choice(spots)
    word, at = spot[0], rng.randrange(1, len(spot[0]) - 2)
    options = (
        word[:at] + word[at + 1] + word[at] + word[at + 2 :],
        word[:at] + word[at + 1 :],
        word[:at] + word[at] + word[at:],
    )
    return _put(text, spot, rng.choice(options))


def punctuate(text: str, rng: random.Random) -> str | None:
    """Drop the end mark, or change it."""
    bare = text.rstrip(" ?.!")
    return bare + rng.choice(["", "", " ?", "??", "."]) if bare else None


def respell_number(text: str, _rng: random.Random) -> str | None:
    """Write a small number in letters, or the letters as a number."""
    for spot in re.finditer(r"(?i)(?<![\w.,])(\d{1,2}|" + "|".join(_NUMBER_WORDS) + r")(?![\w.,]\w|\w)", text):
        word = spot[0].lower()
        if word.isdigit() and 2 <= int(word) < len(_NUMBER_WORDS):
            return _put(text, spot, _NUMBER_WORDS[int(word)])
        if word in _NUMBER_WORDS[2:]:
            return _put(text, spot, str(_NUMBER_WORDS.index(word)))
    return None


def content_words(text: str) -> list[str]:
    """Words that carry meaning, in order, as written."""
    return [match[0] for match in _WORD.finditer(text) if match[0].lower() not in _STOP]


def replace_word(text: str, old: str, new: str) -> str:
    """Replace every occurrence of a word or number, whatever its case."""
    return re.sub(rf"(?i)(?<!\w){re.escape(old)}(?!\w)", lambda match: _cased(new, match[0]), text)


CHANGING: Sequence[tuple[str, Edit, float]] = (
    ("number", change_number, 3.0),
    ("antonym", swap_from(_OPPOSITE), 3.0),
    ("unit", swap_from(_UNIT), 2.0),
    ("other", swap_from(_OTHER), 2.0),
    ("person", swap_from(_PERSON), 1.0),
    ("negation", negate, 1.0),
    ("direction", change_direction, 3.0),
    ("focus", change_focus, 1.0),
    ("addition", add_fact, 0.7),
    ("order", swap_words, 1.0),
)
"""Edits that change the answer: name, edit, weight among those that apply."""

KEEPING: Sequence[tuple[str, Edit, float]] = (
    ("synonym", swap_from(_SYNONYM), 1.5),
    ("contraction", contract, 1.0),
    ("opening", reword_opening, 2.0),
    ("frame", frame, 1.5),
    ("typo", misspell, 0.7),
    ("punctuation", punctuate, 0.5),
    ("number spelling", respell_number, 1.5),
)
"""Edits that keep the answer: name, edit, weight among those that apply."""


def apply_one(edits: Sequence[tuple[str, Edit, float]], text: str, rng: random.Random) -> tuple[str, str] | None:
    """Apply one of the edits that fit, drawn by weight; gives its name and the new text."""
    made = [(name, edit(text, rng), weight) for name, edit, weight in edits]
    fitting = [(name, new, weight) for name, new, weight in made if new is not None and new != text]
    if not fitting:
        return None
    name, new, _ = rng.choices(fitting, [weight for _, _, weight in fitting])[0]
    assert new is not None
    return name, new


def _put(text: str, spot: re.Match[str], new: str) -> str:
    return text[: spot.start()] + new + text[spot.end() :]


def _cased(new: str, old: str) -> str:
    return new[0].upper() + new[1:] if old[:1].isupper() else new
