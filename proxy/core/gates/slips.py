"""Slips of the pen: one letter dropped, doubled or swapped with its neighbour, deep inside a long word.

Without a dictionary a slip and another word look alike (Iran, Iraq), so short words, first and last letters and one letter written for
another are no slips here.
"""

from __future__ import annotations

# Words shorter than this have neighbours that mean something else too often.
_LETTERS = 9
# The letters at either end that must agree: prefixes and endings carry the sense (hyper, hypo; electron, electronic).
_EDGE = 3


def is_slip(one: str, other: str) -> bool:
    """Whether one word is the other with one letter missing, doubled or swapped with the next. Symmetric."""
    short, long = (one, other) if len(one) <= len(other) else (other, one)
    if len(short) < _LETTERS - 1 or len(long) < _LETTERS or len(long) - len(short) > 1:
        return False
    if short[:_EDGE] != long[:_EDGE] or short[1 - _EDGE :] != long[1 - _EDGE :] or not (short + long).isalpha():
        return False
    at = next((i for i in range(len(short)) if short[i] != long[i]), len(short))
    if len(short) < len(long):
        return short[at:] == long[at + 1 :]
    return short[at : at + 2] == long[at : at + 2][::-1] and short[at + 2 :] == long[at + 2 :]
