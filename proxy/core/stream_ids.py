"""Ids of entries in Redis Streams, `<milliseconds>-<sequence>`: checked and compared. They order what happened; SSE resumes from them."""

from __future__ import annotations

import re

from proxy.errors import RequestError

BEGINNING = "0-0"
"""Before every entry."""
_ID = re.compile(r"(\d{1,19})(?:-(\d{1,19}))?\Z")
_MAX = 2**64 - 1


def order(entry_id: str) -> tuple[int, int]:
    """What ids compare by; an id without a sequence stands before all of its millisecond."""
    milliseconds, _, sequence = entry_id.partition("-")
    return int(milliseconds), int(sequence or 0)


def checked(value: str, param: str) -> str:
    """The id in full, if it is one.

    Raises:
        RequestError: 400 naming `param`.
    """
    match = _ID.match(value)
    if match is None or max(int(match[1]), int(match[2] or 0)) > _MAX:
        raise RequestError(
            f"`{param}` cannot be used: give the id of an event as Deja sent it, such as 1795363192172-0.",
            param=param,
            code="invalid_event_id",
        )
    return f"{int(match[1])}-{int(match[2] or 0)}"
