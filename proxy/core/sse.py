"""Server-sent events: bytes -> events, and events -> bytes (WHATWG HTML, section 9.2, as far as model providers use it).

What the events mean is left to `core.chat_answers`.
"""

from __future__ import annotations

import re

import orjson

DONE = b"[DONE]"
COMMENT = b":\n\n"
"""Nothing, aloud: keeps a connection open through whatever would close an idle one."""
_LINE_END = re.compile(rb"\r\n|\n|\r")
_TERMINATOR = re.compile(rb"(?:\A|[\r\n])data: ?\[DONE\][ \t]*(?:\r\n|\n|\r)")


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


def ends_stream(tail: bytes) -> bool:
    """Whether these last bytes of a stream hold OpenAI's closing event."""
    return DONE in tail and _TERMINATOR.search(tail) is not None


def event(data: bytes) -> bytes:
    """One event that carries `data`, which must hold no line break."""
    return b"data: " + data + b"\n\n"


def named_event(name: str, data: bytes, *, event_id: str | None = None) -> bytes:
    """One event with a name and the id to resume from; none of the three may hold a line break."""
    head = b"" if event_id is None else b"id: " + event_id.encode() + b"\n"
    return head + b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"


def error_data(message: str, *, code: str) -> bytes:
    """The data of an error event in OpenAI's shape; their SDKs raise it."""
    return orjson.dumps({"error": {"message": message, "type": "upstream_error", "param": None, "code": code}})
