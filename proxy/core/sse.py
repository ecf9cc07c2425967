"""Server-sent events: bytes -> events, and events -> bytes (WHATWG HTML, section 9.2, as far as model providers use it).

What the events mean is left to the dialects (`core.dialects`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

DONE = b"[DONE]"
COMMENT = b":\n\n"
"""Nothing, aloud: keeps a connection open through whatever would close an idle one."""
_LINE_END = re.compile(rb"\r\n|\n|\r")
_DONE_LINE = re.compile(rb"(?:\A|[\r\n])data: ?\[DONE\][ \t]*[\r\n]")
_EMPTY_LINE = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_TAIL_BYTES = 64
"""The line that names a closing event, split wherever it may be, fits in these."""


def events(raw: bytes) -> list[bytes]:
    """The data of each complete event, in order; however the bytes were split on the way makes no difference.

    Comments and fields other than `data` are skipped. An event not closed by an empty line is not returned.
    """
    found: list[bytes] = []
    data: list[bytes] = []
    for line in _LINE_END.split(raw.removeprefix(b"\xef\xbb\xbf"))[
        :-1
    ]:  # what follows the last line end is no line yet
        if not line:
            if data:
                found.append(b"\n".join(data))
                data = []
        elif line.startswith(b"data"):
            name, _, value = line.partition(b":")
            if name == b"data":
                data.append(value.removeprefix(b" "))
    return found


class Ending:
    """Sees a stream come to its end while it passes, wherever its bytes are split.

    Args:
        marks: what its closing event has to hold; looking for these first is quick.
        closing: matches what makes an event the closing one, from the beginning of one of its lines to the end of that line.
        is_whole: the event ends with that line; else it ends with the empty line after it, however long the event is.
    """

    __slots__ = ("_closing", "_is_closing", "_is_whole", "_marks", "_tail")

    def __init__(self, marks: Sequence[bytes], closing: re.Pattern[bytes], *, is_whole: bool) -> None:
        self._marks = marks
        self._closing = closing
        self._is_whole = is_whole
        self._is_closing = False
        self._tail = b""

    def feed(self, piece: bytes) -> bool:
        """Take the next bytes; whether the closing event is complete. To be asked until it is."""
        seen = self._tail + piece
        if not self._is_closing:
            for mark in self._marks:
                if mark in seen:
                    break
            else:  # nearly every piece ends here, and each one waits for it
                self._tail = seen[-_TAIL_BYTES:]
                return False
            found = self._closing.search(seen)
            if found is None:
                self._tail = seen[-_TAIL_BYTES:]
                return False
            self._is_closing = True
            seen = seen[found.end() - 1 :]  # with the line end, half of the empty line
        if self._is_whole or _EMPTY_LINE.search(seen):
            return True
        self._tail = seen[-3:]
        return False


def done_ending() -> Ending:
    """For streams that OpenAI closes with `[DONE]`."""
    return Ending((DONE,), _DONE_LINE, is_whole=True)


def named_ending(*names: bytes) -> Ending:
    """For streams whose closing event has one of these names."""
    return Ending(names, _naming_line(names), is_whole=False)


@cache
def _naming_line(names: tuple[bytes, ...]) -> re.Pattern[bytes]:
    return re.compile(rb"(?:\A|[\r\n])event: ?(?:" + b"|".join(map(re.escape, names)) + rb")[ \t]*[\r\n]")


def event(data: bytes) -> bytes:
    """One event that carries `data`, which must hold no line break."""
    return b"data: " + data + b"\n\n"


def named_event(name: str, data: bytes, *, event_id: str | None = None) -> bytes:
    """One event with a name and the id to resume from; none of the three may hold a line break."""
    head = b"" if event_id is None else b"id: " + event_id.encode() + b"\n"
    return head + b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"
