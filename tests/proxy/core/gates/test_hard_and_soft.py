"""Which objections refuse by themselves: clashing facts in close wordings do, weaker signs only object. The table of pairs, by gate."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.gates import HARD, GateReason, hard_refusal, objections, read

CLEAR = """
gate-number
What is 15% of 200? | What is 18% of 200?
How do I install Python 3.11? | How do I install Python 3.12?
Who won the cup in 2014? | Who won the cup in 2018?
Is 200 mg of ibuprofen enough? | Is 400 mg of ibuprofen enough?
Can we meet at 5 pm? | Can we meet at 6 pm?
Is a $50 tip enough? | Is a $500 tip enough?
How do I lose 5 kg? | How do I lose 5 pounds?
How many miles is that? | How many metres is that?
case for an iPhone 14 | case for an iPhone 14 Pro
a table for 4 adults and 2 children | a table for 2 adults and 4 children
How many people lived in Rome? | How many people lived in Rome in 1950?
What does a loan of 2.4k cost? | What does a loan of 2.5k cost?
Where is order A-10233? | Where is order A-10234?
Is a fever of 38.4 normal? | Is a fever of thirty-seven point four normal?
What is minus 10 Celsius in Fahrenheit? | What is 10 Celsius in Fahrenheit?
a flat with one bedroom | a flat with two bedrooms
Is 7 days enough? | Is 2 weeks enough?
Who won the 98 cup? | Who won the 1994 cup?
Can I take 30 mg? | Can I take 3 g?
gate-identifier
What does os.path.join do? | What does os.path.split do?
Can you ring 555-0101? | Can you ring 555-0102?
What is 12 * 7? | What is 12 + 7?
What is the limit? | What is the limit in /etc/limits?
gate-code
Explain `a == b` | Explain `a = b`
What does "carpe diem" mean? | What does "carpe noctem" mean?
gate-language
What is love? | ¿Qué es el amor?
Wie ist das Wetter in Berlin? | Wie ist denn das Wetter in Berlin?
gate-negation
Is it rude to tip in Japan? | Is it rude not to tip in Japan?
What foods can diabetics eat? | What foods can't diabetics eat?
Who can vote? | Who cannot vote?
What should a nurse worry about? | What should a nurse not worry about?
gate-focus
Why did the king abdicate? | When did the king abdicate?
Who sells tickets? | Where are tickets sold?
How does yeast rise? | How long does yeast rise?
gate-person
Is this her book? | Is this his book?
If they were alone, would he reject her? | If they were alone, would she reject him?
What is my name? | What is your name?
Can I call you tomorrow? | Can you call me tomorrow?
gate-antonym
Could you make the quiz harder? | Can you make the quiz easier?
Is the desert spreading southwards? | Is the desert spreading northwards?
How do I enable cookies? | How do I disable cookies?
How do I lock my phone? | How do I unlock my phone?
Is begging legal here? | Is begging illegal here?
gate-entity
What is the capital of France? | What is the capital of Spain?
Who is Marie Curie? | Who is Pierre Curie?
Is Dr. Smith a good dentist? | Is Dr. Jones a good dentist?
What is the capital of Niger? | What is the capital of Nigeria?
gate-quantifier
Who was the last emperor of Rome? | Who was the first emperor of Rome?
Do all birds fly? | Do most birds fly?
Is she an actor or a singer? | Is she an actor and a singer?
gate-direction
flights from Paris to London | flights from London to Paris
Why do cats chase dogs? | Why do dogs chase cats?
Did Mary blame Adam? | Was Mary blamed by Adam?
Does Thomas like Emma? | Is Thomas liked by Emma?
Can I stretch before running? | Can I stretch after running?
Which is the best phone under 15000 rupees? | Which is the best phone above 15000 rupees?
How do I turn the notifications on? | How do I turn the notifications off?
Is Python faster than Java? | Is Java faster than Python?
"""

SOFT_OR_NONE = """
numbers written otherwise
Give me ten tips | Give me 10 tips
How do I order 1k units? | How do I order 1,000 units?
What fell on the 5th of July? | What fell on the fifth of July?
How fast is a 5 km run? | How fast is a 5 kilometre run?
Who was mayor in nineteen seventy-five? | Who was mayor in 1975?
Who won in twenty twenty-one? | Who won in 2021?
Who hosted the '92 games? | Who hosted the 1992 games?
What can I do with 4 lakhs? | What can I do with 400,000?
Is a CRP of 1.2 high? | Is a CRP of one point two high?
Is a beta of 1.5 risky? | Is a beta of one and a half risky?
Bake it at 180 degrees? | Bake it at a hundred and eighty degrees?
When did the twenty-ninth edition appear? | When did the 29th edition appear?
What is -10 Celsius in Fahrenheit? | What is minus 10 Celsius in Fahrenheit?
Can I borrow from my 401(k)? | Can I borrow from my 401k?
Who won the 98 world cup? | Who won the 1998 world cup?
the same amount in another unit
Is it normal 7 days after surgery? | Is it normal one week after surgery?
Do I need vitamins 12 months after? | Do I need vitamins 1 year after?
How much sugar for 0.5 kg of fruit? | How much sugar for 500 grams of fruit?
Is an 8 mm nodule a worry? | Is a 0.8 cm nodule a worry?
Convert 120 kmh to mph | Convert 120 km/h to mph
an age as patients write it
flat feet 3 year old normal | Are flat feet normal for a 3 yr old?
toe blister 66m ok? | Is a toe blister fine at 66 years?
a word that only looks like a variant or a unit
macbook air m2 max ram | What is the maximum memory of an M2 MacBook Air?
french revolution starting year | In which year did France's revolution begin?
one thing or person, not a number
How does one differ from the other? | How do the two differ?
a number, name or quotation beside the point
What is crawling in a motor? | What is crawling in a three phase induction motor?
I am 30 and tired. How do I sleep better? | How do I sleep better at night?
Why do people laugh at Ariel the mermaid? | Why do people laugh at the mermaid?
a land and its people
Which African peak is highest? | What is the highest peak in Africa?
switzerland currency | What is the Swiss currency?
Why are American houses so big? | Why are houses so big in the USA?
What currency is used in Saint Lucia? | What currency is used in St. Lucia?
What is the airport code of San José? | What is the airport code of San Jose?
what stands before the question, or its question word behind it
When I get up, why are my windows wet? | Why are my windows wet when I get up?
For someone who speaks English, how much time is needed to learn Spanish? | How long does it take an English speaker to learn Spanish?
Without an electronic tuner, how can a guitar be tuned? | How do you tune a guitar without an electronic tuner?
For someone who is deaf, what phone is best? | What phone is best for someone who is deaf?
hip snapping when lifting leg why | Why does my hip snap when I lift my leg?
A 1.5 pound lobster should be boiled for how long? | How long should a 1.5 pound lobster be boiled?
an amount in the passive
How many days are needed to form a habit? | How many days do you need to form a habit?
How many will I need? | What number of them is required?
a question word in other words where all else is, too
The bag I checked in never came; who should I tell? | luggage not arrived at airport, report where
typed into a search box, words have no places
yellow bitter vomit why | Why is my vomit bitter and yellow?
inability and ignorance are no denial
I don't know how to cancel my order | How do I cancel my order?
I can't find my invoice | Help me find my invoice
How do I know whether she likes me or not? | How do I know whether she likes me?
two opposites, or one and a negation, cancel out
How can I become more careful? | How can I become less careless?
How can I be a person who is not insecure? | How can I be a secure person?
relations that hold both ways
Is Ann married to Ben? | Is Ben married to Ann?
Is this brand similar to that label? | Is that label similar to this brand?
the passive voice
Did Adam blame Mary? | Was Mary blamed by Adam?
Which novel did Orwell write? | Which novel was written by Orwell?
anyone's matter
How can I lose my fear of death? | How can you lose your fear of death?
"second" in a row, not of a minute
What is the best age to learn a second language? | best age to learn second language
one name with a dash or a slash, or without
What is the H-1B lottery? | What is the H1B lottery?
What is the top rate of tax in 2025/26? | What is the top rate of tax in 2025-26?
one word that is written as the same letter twice
When will George RR Martin publish it? | When will George R. R. Martin publish it?
known rewordings that older gates refused
How do I remove a stain? | How do I get out a stain?
Convert a string to an integer | How do I convert a string to an int?
What is the meaning of the word ennui? | What does ennui mean?
What is the currency of Japan? | What currency does Japan use?
keyword strings are English
norway gdp per capita | What is the GDP per capita of Norway?
1099 vs w2 | What is the difference between a 1099 and a W2?
python vs java as first language | Which one to learn first, Java or Python?
"""


def _rows(table: str) -> list[tuple[str, str, str]]:
    """The pairs of a table, each under its heading."""
    rows, heading = [], ""
    for line in table.strip().splitlines():
        one, bar, other = line.partition(" | ")
        if bar:
            rows.append((heading, one, other))
        else:
            heading = line
    return rows


@pytest.mark.parametrize(("reason", "one", "other"), _rows(CLEAR))
def test_clashing_facts_refuse_by_themselves(reason: str, one: str, other: str) -> None:
    assert reason in HARD & objections(one, other)
    assert hard_refusal(one, other) in HARD


@pytest.mark.parametrize(("heading", "one", "other"), _rows(SOFT_OR_NONE))
def test_weaker_signs_leave_the_verdict_to_others(heading: str, one: str, other: str) -> None:
    assert hard_refusal(one, other) is None, heading


@pytest.mark.parametrize(
    ("soft", "one", "other"),
    [
        ("gate-number-soft", "What is crawling in a motor?", "What is crawling in a three phase induction motor?"),
        ("gate-identifier-soft", "C++ smart pointers * explained", "How do smart pointers work in C++?"),
        ("gate-code-soft", "How does `map` work?", "How does the map function work?"),
        ("gate-negation-soft", "I can't find my invoice", "Help me find my invoice"),
        ("gate-focus-soft", "How do plants eat?", "What do plants eat?"),
        ("gate-tense", "Who is the king?", "Who was the king?"),
        ("gate-person-soft", "Can you swim?", "Can I swim?"),
        ("gate-antonym-soft", "How can I become more careful?", "How can I become less careless?"),
        ("gate-entity-soft", "Who sells old maps?", "Who sells old maps in Oslo?"),
        ("gate-quantifier-soft", "Which files are open?", "Which of all files are open?"),
        ("gate-direction-soft", "Sort a list of cities", "Sort cities by list"),
        ("gate-wording", "How to cook trout?", "How to cook salmon?"),
    ],
)
def test_each_soft_objection_has_its_own_name(soft: str, one: str, other: str) -> None:
    assert soft in objections(one, other) - HARD


def test_a_reason_is_soft_exactly_if_its_name_says_so_or_it_is_a_heuristic_through_and_through() -> None:
    soft = {reason for reason in GateReason if reason.endswith("-soft")} | {GateReason.TENSE, GateReason.WORDING}
    assert frozenset(GateReason) - HARD == soft


# --- laws ---

_FOREIGN = st.text(alphabet="абвгдежз ", min_size=1, max_size=24).map(str.strip).filter(bool)


@given(_FOREIGN, _FOREIGN)
def test_texts_in_a_script_without_rules_agree_word_for_word_or_are_refused(one: str, other: str) -> None:
    assert (hard_refusal(one, other) is None) == (read(one).plain == read(other).plain)


@given(_FOREIGN, st.sampled_from(["How old is Rome?", "x", "`a`"]))
def test_a_foreign_text_never_serves_an_english_one(foreign: str, english: str) -> None:
    assert GateReason.LANGUAGE in objections(foreign, english)


_EDITS = st.sampled_from(["2", "7", "2019", "Paris", "Berlin", "not", "never", "her", "his"])


@given(
    st.sampled_from(["Is {} mentioned in the letter?", "When was {} on the list?", "Did they say {} at dinner?"]),
    _EDITS,
    _EDITS,
)
def test_one_fact_exchanged_for_another_is_always_an_objection(frame: str, one: str, other: str) -> None:
    assert bool(objections(frame.format(one), frame.format(other))) == (
        one != other and {one, other} != {"not", "never"}
    )


# --- everyday wordings: hardly a true one is refused for good, and a share of the traps is ---

_TABLES = Path(__file__).parents[1] / "everyday"


def _everyday(name: str) -> list[list[str]]:
    text = (_TABLES / f"{name}.txt").read_text("utf-8")
    return [line.split(" | ") for line in text.splitlines() if " | " in line and not line.startswith("#")]


def test_everyday_rewordings_are_hardly_ever_refused_for_good() -> None:
    pairs = _everyday("rewordings")
    refused = [(one, other) for one, other in pairs if hard_refusal(one, other) is not None]
    assert len(pairs) > 350
    assert len(refused) / len(pairs) <= 0.01, refused


def test_a_quarter_of_the_everyday_traps_needs_no_model() -> None:
    pairs = _everyday("traps")
    assert sum(hard_refusal(one, other) is not None for one, other in pairs) / len(pairs) >= 0.22


def test_a_long_text_of_the_same_words_in_another_order_is_refused() -> None:
    stored = "The film about the painter Karl Brandt was directed by Maria Lund in Norway and shown at the festival in Venice in spring"
    asked = "The film about the painter Maria Lund was directed by Karl Brandt in Norway and shown at the festival in Venice in spring"
    assert hard_refusal(stored, asked) in {GateReason.DIRECTION, GateReason.ORDER}
    mixed = "In spring the festival of Norway was directed by the painter Maria Lund and the film about Karl Brandt shown in Venice"
    assert GateReason.ORDER in objections(stored, mixed)
    # What is free to stand elsewhere may; a short question is left to the verifier, and so is a text in other words.
    assert GateReason.ORDER not in objections("In Python, how do I sort a list?", "How do I sort a list in Python?")
    assert GateReason.ORDER not in objections("Sort a list of cities", "Sort cities by list")
