"""Rules of sessions: which messages may be appended, which of them fit a context window, what structured data may be. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from proxy.core.names import checked as checked_name
from proxy.core.token_estimate import message_tokens
from proxy.errors import RequestError

MAX_MESSAGES = 100
"""Messages appended by one call: one script of Redis, some 20 us a message."""
MAX_USER_CHARS = 256
"""OpenAI allows 64 in `safety_identifier`; e-mail addresses and URNs are longer."""
MAX_TTL_S = 365 * 86_400
MAX_WINDOW_TOKENS = 100_000_000
"""Ten times the largest context window on offer: more is a mistake in units."""
MAX_DEPTH = 100
"""Levels of JSON in structured data; orjson writes 254."""

ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
STANDING = frozenset({"system", "developer"})
"""Roles whose messages hold for the whole conversation."""
_RESULTS = frozenset({"tool", "function"})
RESERVED = re.compile(r"/(messages|data|timeline|replay|fork|recording)\Z")
"""What an id may not end in: a word that the routes of a session end in."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it is stored.

    Attributes:
        role: one of `ROLES`; of recorded traffic whatever was sent.
        wire: the whole message as JSON.
        tokens: estimated.
    """

    role: str
    wire: bytes
    tokens: int


@dataclass(frozen=True, slots=True)
class Window:
    """What of a session fits.

    Attributes:
        turns: oldest first.
        tokens: theirs together.
        omitted: how many turns did not fit, or were results of tool calls that are not there.
    """

    turns: tuple[dict[str, Any], ...]
    tokens: int
    omitted: int


@dataclass(frozen=True, slots=True)
class About:
    """What is known of a session without reading what was said.

    Attributes:
        session: its id.
        created_at: unix seconds.
        last_active_at: unix seconds of the last write.
        ttl_s: seconds it is kept after its last use.
        user: whose it is: who spoke first, or who was named; None if nobody was.
        turns: messages kept.
        tokens: theirs, estimated.
        trimmed: how many older ones went, since there were too many.
        window_tokens: the context window it is meant for, None if it was not said.
        data_version: of its structured data, 0 for none.
        parent: the session it was forked from, None for none.
    """

    session: str
    created_at: float
    last_active_at: float
    ttl_s: int
    user: str | None
    turns: int
    tokens: int
    trimmed: int
    window_tokens: int | None
    data_version: int
    parent: str | None


@dataclass(frozen=True, slots=True)
class Session:
    """A session as read.

    Attributes:
        about: what is known of it.
        data: structured data as JSON, None for none.
        turns: oldest first; each a dictionary of id, role, message, tokens, agent, user, request_id, at.
        events: oldest first.
    """

    about: About
    data: bytes | None
    turns: tuple[dict[str, Any], ...]
    events: tuple[dict[str, str], ...]


@dataclass(frozen=True, slots=True)
class Appended:
    """What came of appending messages.

    Attributes:
        ids: of the messages, in order.
        is_repeated: they were appended before under the same idempotency key.
        turns: messages in the session now.
        tokens: theirs.
        window_tokens: the session's context window, None if none was said.
    """

    ids: tuple[str, ...]
    is_repeated: bool
    turns: int
    tokens: int
    window_tokens: int | None


@dataclass(frozen=True, slots=True)
class Wiped:
    """What an erasure took out of one session.

    Attributes:
        is_whole: all of it went, not a part.
        turns: messages.
        events: of its timeline.
        data: 1 if there were structured data.
        sessions: 1 if there was a session, and all of it went.
        steps: of its recording.
        at_ms: when, by Redis' clock.
        users: who had spoken in it.
    """

    is_whole: bool
    turns: int
    events: int
    data: int
    sessions: int
    steps: int
    at_ms: int
    users: tuple[str, ...]


def checked_session(value: str) -> str:
    """A session's id, if it may be one that is written to by API.

    Raises:
        RequestError: 400, `session_id`.
    """
    name = checked_name(value, "session_id")
    if RESERVED.search(name):
        raise RequestError(
            "`session_id` cannot be used: it ends in a word that is part of a route; take another last word.",
            param="session_id",
            code="invalid_name",
        )
    return name


def checked_user(value: object, param: str) -> str:
    """A user's id, whatever the application calls its users.

    Raises:
        RequestError: 400 naming `param`.
    """
    if not is_user(value):
        raise RequestError(
            f"`{param}` cannot be used: give 1 to {MAX_USER_CHARS} characters without control characters.",
            param=param,
            code="invalid_user",
        )
    return str(value)


def is_user(value: object) -> bool:
    """Whether a value may be a user's id."""
    return (
        isinstance(value, str)
        and 0 < len(value) <= MAX_USER_CHARS
        and not any(unicodedata.category(char) in ("Cc", "Cs") for char in value)
    )


def user_of(body: Mapping[str, Any]) -> str | None:
    """Who a request says its user is: `user`, else OpenAI's newer `safety_identifier`; None for neither, or one that cannot be used.

    Both may be there. `user` goes first: it is the application's own name for them, where the other is to be a hash.
    """
    return next((str(body[name]) for name in ("user", "safety_identifier") if is_user(body.get(name))), None)


def checked_messages(values: Sequence[Any], *, max_bytes: int) -> list[Message]:
    """Messages in OpenAI's shape, ready to be stored; fields we do not know are kept.

    Args:
        values: as sent.
        max_bytes: of one message as JSON.

    Raises:
        RequestError: 400 or 413 naming the message at fault; none is taken then.
    """
    if not 1 <= len(values) <= MAX_MESSAGES:
        raise _bad("messages", f"append 1 to {MAX_MESSAGES} messages at a time")
    return [_checked_message(value, f"messages.{at}", max_bytes) for at, value in enumerate(values)]


def _checked_message(value: Any, param: str, max_bytes: int) -> Message:
    if not isinstance(value, dict):
        raise _bad(param, "make it an object with `role` and `content`")
    role, content = value.get("role"), value.get("content")
    if not isinstance(role, str) or role not in ROLES:
        raise _bad(f"{param}.role", f"choose one of {', '.join(sorted(ROLES))}")
    has_calls = role == "assistant" and (value.get("tool_calls") or value.get("function_call") or value.get("refusal"))
    if not (isinstance(content, str | list) or (content is None and has_calls)):
        raise _bad(f"{param}.content", "give a text or a list of parts; null only beside an assistant's tool calls")
    if role == "tool" and not (isinstance(value.get("tool_call_id"), str) and value["tool_call_id"]):
        raise _bad(f"{param}.tool_call_id", "name the tool call that this is the result of")
    calls = value.get("tool_calls")
    if calls is not None and not (isinstance(calls, list) and all(isinstance(call, dict) for call in calls)):
        raise _bad(f"{param}.tool_calls", "make it a list of objects")
    wire = _written(value, param)
    if len(wire) > max_bytes:
        raise RequestError(
            f"`{param}` is too large: {len(wire)} bytes as JSON, and {max_bytes} are allowed (DEJA_SESSIONS__MAX_MESSAGE_BYTES). "
            "Nothing was appended; keep large contents elsewhere and append a reference.",
            status=413,
            code="message_too_large",
            param=param,
        )
    return Message(str(role), wire, message_tokens(value))


def estimated(wire: bytes) -> int:
    """Tokens of a recorded message, about."""
    message = orjson.loads(wire)
    return message_tokens(message) if isinstance(message, dict) else 0


def _written(value: Any, param: str) -> bytes:
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        raise _bad(param, "it is nested too deeply") from None


def window(turns: Sequence[dict[str, Any]], max_tokens: int) -> Window:
    """The newest turns that fit, system and developer messages first of all.

    An assistant's tool calls and their results stay together or are left out together. A result whose call is not there is left out:
    providers refuse it.

    Args:
        turns: of the whole session, oldest first; `message` and `tokens` are read.
        max_tokens: what may be used.

    Raises:
        RequestError: 400, the system messages alone are larger.
    """
    groups = _groups(turns)
    standing = [group for group in groups if turns[group[0]]["role"] in STANDING]
    tokens = sum(_tokens(turns, group) for group in standing)
    if tokens > max_tokens:
        raise RequestError(
            f"The session's system messages alone take {tokens} tokens, so nothing fits {max_tokens}; ask with a larger `max_tokens`.",
            code="window_too_small",
            param="max_tokens",
        )
    kept = [at for group in standing for at in group]
    for group in reversed(groups):
        if turns[group[0]]["role"] in STANDING:
            continue
        size = _tokens(turns, group)
        if tokens + size > max_tokens:
            break  # not a smaller one before it: a conversation with a hole reads as another one
        tokens += size
        kept += group
    return Window(tuple(turns[at] for at in sorted(kept)), tokens, len(turns) - len(kept))


def _groups(turns: Sequence[dict[str, Any]]) -> list[list[int]]:
    """Positions of turns that stay together, in the order of their last ones; results without a call are in none."""
    groups: list[list[int]] = []
    by_call: dict[str, list[int]] = {}
    legacy: list[int] | None = None
    for at, turn in enumerate(turns):
        message = turn["message"]
        if turn["role"] not in _RESULTS:
            group = [at]
            groups.append(group)
            calls = message.get("tool_calls") if turn["role"] == "assistant" else None
            for call in calls if isinstance(calls, list) else ():
                by_call[str(call.get("id")) if isinstance(call, dict) else ""] = group
            if message.get("function_call"):
                legacy = group
            continue
        owner = by_call.get(str(message.get("tool_call_id"))) if turn["role"] == "tool" else legacy
        if owner is not None:
            owner.append(at)
    # By the newest turn of each: a result that has just come in keeps its call, however long ago that was made.
    return sorted(groups, key=lambda group: group[-1])


def _tokens(turns: Sequence[dict[str, Any]], group: Iterable[int]) -> int:
    return sum(int(turns[at]["tokens"]) for at in group)


def checked_data(value: Any, *, max_bytes: int) -> bytes:
    """Structured data as they are stored.

    Raises:
        RequestError: 400, no object or nested too deeply; 413, too large.
    """
    if not isinstance(value, dict):
        raise _bad("data", "make it a JSON object")
    if _depth(value) > MAX_DEPTH:
        raise _bad("data", f"keep it within {MAX_DEPTH} levels")
    wire = _written(value, "data")
    if len(wire) > max_bytes:
        raise RequestError(
            f"The session's data would take {len(wire)} bytes as JSON, and {max_bytes} are allowed (DEJA_SESSIONS__MAX_DATA_BYTES). "
            "They stay as they are; remove members, or keep large ones elsewhere.",
            status=413,
            code="data_too_large",
            param="data",
        )
    return wire


def _depth(value: Any) -> int:
    """Levels of containers; an explicit stack, since a body may be nested more deeply than Python calls."""
    deepest, waiting = 0, [(value, 1)]
    while waiting:
        one, level = waiting.pop()
        inner = one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
        if isinstance(one, dict | list):
            deepest = max(deepest, level)
        if level <= MAX_DEPTH:
            waiting += [(part, level + 1) for part in inner]
        elif inner:
            return level
    return deepest


def _bad(param: str, mend: str) -> RequestError:
    code = "invalid_message" if param.startswith("message") else "invalid_data"
    return RequestError(f"`{param}` cannot be used: {mend}.", param=param, code=code)
