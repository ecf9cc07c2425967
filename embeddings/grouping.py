"""Which texts a model reads together."""

from __future__ import annotations

from collections.abc import Sequence

_STRETCH = 1.15  # a batch of equal lengths saves 13 % of a text's cost: more padding than that costs more than it saves


def groups(lengths: Sequence[int], *, most: int, longest: int) -> list[list[int]]:
    """Split indices into groups to run together: like lengths, so that padding never costs more than a batch saves; long texts alone.

    Args:
        lengths: tokens of each text.
        most: texts of a group.
        longest: tokens of a text that others may be read with.

    Returns:
        Each index once, shortest texts first.
    """
    made: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        room = bool(made) and len(made[-1]) < most and lengths[index] <= longest
        if room and lengths[index] <= lengths[made[-1][0]] * _STRETCH:
            made[-1].append(index)
        else:
            made.append([index])
    return made
