"""Number words to numbers ("twenty-five", "two thousand", "1.5 million", "World War II"), in place among the tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from proxy.core.gates.tokens import Kind, Token

# "one" counts only before a thing; after these, or before a verb, it stands for a person or a thing already named.
_ONE_IS_NO_NUMBER_AFTER = frozenset({
    "how", "does", "do", "did", "can", "could", "should", "would", "must", "may", "no", "any", "every", "some",
    "this", "that", "which", "the", "each", "good", "better", "best", "no-one", "if", "when",
})  # fmt: skip


def fold_numbers(tokens: Sequence[Token], values: Mapping[str, str], stopwords: frozenset[str]) -> list[Token]:
    """Replace runs of number words and digits by one number token each.

    Args:
        tokens: from `tokenise`.
        values: number word to value; ordinals end in `th`, multipliers start with `x`.
        stopwords: a word here after "one" shows that it is no number ("one can").
    """
    if not any(t.kind is Kind.NUMBER or t.text in values or t.text == "one" for t in tokens):
        return list(tokens)
    out: list[Token] = []
    i = 0
    while i < len(tokens):
        token = tokens[i]
        if token.kind is not Kind.NUMBER and token.text not in values and token.text != "one":
            out.append(token)
            i += 1
            continue
        value, used = _run(tokens, i, values, stopwords)
        if (
            out
            and out[-1].text == "minus"
            and value[:1].isdigit()
            and (len(out) < 2 or out[-2].kind is not Kind.NUMBER)
        ):
            out.pop()
            value = "-" + value
        out.append(Token(value, Kind.NUMBER) if value else token)
        i += used
    return out


def _run(tokens: Sequence[Token], start: int, values: Mapping[str, str], stopwords: frozenset[str]) -> tuple[str, int]:
    """The number that begins at `start` and how many tokens it takes; an empty string when it is none."""
    word = tokens[start].text
    if tokens[start].kind is Kind.NUMBER:
        text = word
    elif word == "one":
        before = tokens[start - 1].text if start else ""
        after = tokens[start + 1] if start + 1 < len(tokens) else None
        if after is None or after.kind is Kind.STOP or before in _ONE_IS_NO_NUMBER_AFTER or after.text in stopwords:
            return "", 1
        text = "1"
    elif word == "second" and _is_a_time(tokens, start, stopwords):
        return "", 1
    else:
        text = values[word]
    if text.startswith("x"):
        text = text[1:] if start == 0 or tokens[start - 1].text not in {"hundreds", "thousands", "millions"} else text
    return _extend(tokens, start, text, values)


def _is_a_time(tokens: Sequence[Token], at: int, stopwords: frozenset[str]) -> bool:
    """Whether "second" is a sixtieth of a minute here: "30 second", "a second later", but not "a second language"."""
    before = tokens[at - 1] if at else None
    after = tokens[at + 1] if at + 1 < len(tokens) else None
    if before is None:
        return False
    is_ordinal = after is not None and after.kind is Kind.WORD and after.text not in stopwords | _AFTER_A_TIME
    return (
        before.kind is Kind.NUMBER
        or before.text in {"per", "one", "each", "every"}
        or (before.text == "a" and not is_ordinal)
    )


_AFTER_A_TIME = frozenset(
    {"later", "ago", "or", "and", "of", "in", "to", "for", "at", "before", "after", "faster", "slower", "longer"}
)


def _extend(tokens: Sequence[Token], start: int, text: str, values: Mapping[str, str]) -> tuple[str, int]:
    """Go on through "million", "hundred and five", "twenty two", from a first value already read."""
    if not text.replace(".", "", 1).isdigit():
        return text, 1
    total, current, used = Decimal(0), Decimal(text), 1
    is_digits = tokens[start].kind is Kind.NUMBER
    multiplied = values.get(tokens[start].text, "").startswith("x")
    while start + used < len(tokens):
        token = tokens[start + used]
        if (end := _end(tokens, start + used, total + current, values, in_words=not is_digits)) is not None:
            return end[0], used + end[1]
        value = "1" if token.text == "one" and used and not is_digits else values.get(token.text, "")
        if value.startswith("x"):
            factor = Decimal(value[1:])
            if factor >= 1000:
                total, current = total + current * factor, Decimal(0)
            else:
                current *= factor
            multiplied = True
        elif value.isdigit() and not is_digits and used == 1 and current in _CENTURIES and 10 <= int(value) < 100:
            current = current * 100 + Decimal(value)  # "nineteen ninety"
        elif (
            value.isdigit()
            and not is_digits
            and (multiplied or (current % 10 == 0 and _ends_in_tens(current) and int(value) < 10))
        ):
            current += Decimal(value)
        elif token.text == "and" and multiplied and _next_is_small(tokens, start + used + 1, values):
            pass
        else:
            break
        used += 1
    if used == 1:
        return text, 1
    return format((total + current).normalize(), "f"), used


def _end(
    tokens: Sequence[Token], at: int, so_far: Decimal, values: Mapping[str, str], *, in_words: bool
) -> tuple[str, int] | None:
    """What ends a number from `at` on: "-ninth" after tens, "point two" and what multiplies it, "and a half"; and its tokens."""
    if [token.text for token in tokens[at : at + 3]] == ["and", "a", "half"]:
        return format(so_far + Decimal("0.5"), "f"), 3
    if not in_words:
        return None
    value = values.get(tokens[at].text, "")
    if value.endswith("th") and len(value) == 3 and so_far % 100 >= 20 and so_far % 10 == 0:
        return format(so_far + int(value[0]), "f") + "th", 1
    digits = _digits(tokens, at + 1, values) if tokens[at].text == "point" else ""
    if not digits:
        return None
    text, after = f"{format(so_far, 'f')}.{digits}", at + 1 + len(digits)
    factor = values.get(tokens[after].text, "") if after < len(tokens) else ""
    if factor.startswith("x"):
        return format((Decimal(text) * Decimal(factor[1:])).normalize(), "f"), len(digits) + 2
    return text, len(digits) + 1


def _digits(tokens: Sequence[Token], at: int, values: Mapping[str, str]) -> str:
    """Single digits in words from here on: "five" of "one point five"."""
    found = ""
    while at < len(tokens):
        digit = "1" if tokens[at].text == "one" else values.get(tokens[at].text, "")
        if not (len(digit) == 1 and digit.isdigit()):
            break
        found, at = found + digit, at + 1
    return found


# What a year in words opens with: "nineteen ninety", "twenty sixteen".
_CENTURIES = frozenset({17, 18, 19, 20})


def _ends_in_tens(value: Decimal) -> bool:
    return 20 <= value < 100 or 1700 <= value < 2100


def _next_is_small(tokens: Sequence[Token], at: int, values: Mapping[str, str]) -> bool:
    return at < len(tokens) and values.get(tokens[at].text, "").isdigit()
