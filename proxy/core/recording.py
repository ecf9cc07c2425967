"""A session's recording: each of its requests whole, with its answer, and without writing anything twice.

A request repeats nearly all of the one before it. So a recording is made of *parts*, each named by the hash of its own bytes and kept once:

    a message    {"after": <part of the message before it> | null, "message": {…}}
    a prompt     {"after": null, "given": "…"}: what is asked, where it is no list of messages
    the fields   a request's other fields, tools among them, and what it asked of the cache under `deja`
    an answer    as the cache stores one: the provider's JSON without `id` and `created`

A message names the one before it, so a list of messages is named by its last one, and requests that begin alike share their beginning,
whoever else talks in the session meanwhile: a run of n turns takes room for n turns. A *step* is a request: it names its last message,
its fields, its answer, and what the answer says (`answer_digest`), by which a replay is compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b
from typing import Any

import orjson

from proxy.core.models import Directives, Mode
from proxy.core.said import answer_digest, meaning

_DIGEST_BYTES = 16  # as in core.keys
CHAT = "chat"
"""Family of steps that name none: they were recorded when there was no other."""
TURNS = {CHAT: "messages", "completions": "prompt", "messages": "messages", "responses": "input"}
"""Family of a request -> its field with what was said."""


@dataclass(frozen=True, slots=True)
class Step:
    """A request whose answer has left, to be recorded.

    Attributes:
        tenant: whose.
        session: in which it was made.
        request_id: ours; a step is written once.
        told: flat text about it, as `STEP_FIELDS` lists, without what names its parts.
        sent: the parsed body as sent, Deja's own fields among it.
        wishes: what it asked of the cache, as the body's `deja` object would say it.
        answer: stored form as JSON, None when there was no complete answer.
        size_bytes: of body and answer, about.
        began_at: unix seconds when the request arrived; what was erased later takes it, too.
        user: who asked, None if that is not known.
    """

    tenant: str
    session: str
    request_id: str
    told: Mapping[str, str]
    sent: Mapping[str, Any]
    wishes: Mapping[str, Any]
    answer: bytes | None
    size_bytes: int
    began_at: float
    user: str | None = None


@dataclass(frozen=True, slots=True)
class Parts:
    """A step taken apart.

    Attributes:
        messages: (name, bytes) in order; each names the one before it.
        others: (name, bytes) of fields and answer.
        named: what the step says of its parts.
    """

    messages: tuple[tuple[str, bytes], ...]
    others: tuple[tuple[str, bytes], ...]
    named: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Recorded:
    """A step as read.

    Attributes:
        number: from 1, in the order in which the answers were complete.
        told: its fields.
        request: the body as it was sent; None where only answers were read.
        answer: stored form, None when there was no complete one.
    """

    number: int
    told: Mapping[str, str]
    request: Mapping[str, Any] | None
    answer: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Recording:
    """A page of a session's recording, and what is known of the whole.

    Attributes:
        steps: of the page, in order.
        total: steps in all.
        bytes: that they take.
        skipped: requests made after the recording was full; they are not in it.
        parent: the session it was forked from, None for no fork.
        forked_at: the last step it shares with that, 0 for no fork.
    """

    steps: tuple[Recorded, ...]
    total: int
    bytes: int
    skipped: int
    parent: str | None
    forked_at: int


class Verdict(StrEnum):
    """What a replayed step came to."""

    SAME = "same"
    DIFFERS = "differs"
    GONE = "gone"
    NO_ANSWER = "no-answer"


class Source(StrEnum):
    """What answered a replayed step."""

    CACHE = "cache"
    RECORD = "record"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Replayed:
    """One step, replayed.

    Attributes:
        step: as recorded.
        source: what answered now.
        verdict: `no-answer` where there was none then either, so that there is nothing to replay.
        differences: where the answers part, in words, for a person.
        answer: what the replay answers, stored form.
        as_recorded: what the answer says was compared with this.
    """

    step: Recorded
    source: Source
    verdict: Verdict
    differences: tuple[str, ...] = ()
    answer: Mapping[str, Any] | None = field(default=None, repr=False)


# --- writing ---------------------------------------------------------------------------------------------------------------------


def wishes_of(directives: Directives) -> dict[str, Any]:
    """What a request asked of the cache, that decides which answers it may have, as the body's `deja` object would say it."""
    wishes: dict[str, Any] = {"mode": directives.mode.value} if directives.mode is not Mode.SEMANTIC else {}
    for name in ("namespace", "query", "context", "confidence"):
        value = getattr(directives, name)
        if value not in (None, ""):
            wishes[name] = value
    return wishes


def taken_apart(step: Step) -> Parts:
    """The parts of a step; 1 µs and 0.7 µs per KB each."""
    turns = TURNS[step.told.get("family", CHAT)]
    messages: list[tuple[str, bytes]] = []
    for link in _links(step.sent, turns):
        messages.append(_part(orjson.dumps({"after": messages[-1][0] if messages else None, **link})))
    fields = {name: value for name, value in step.sent.items() if name not in (turns, "deja", "cache")}
    if step.wishes:
        fields["deja"] = step.wishes
    others = [_part(orjson.dumps(fields))]
    named = {"messages": str(len(messages)), "head": messages[-1][0], "fields": others[0][0]}
    named |= {"answer": "", "answer_digest": ""}
    if step.answer is not None:
        others.append(_part(step.answer))
        named |= {"answer": others[1][0], "answer_digest": answer_digest(orjson.loads(step.answer))}
    return Parts(tuple(messages), tuple(others), named)


def _links(sent: Mapping[str, Any], turns: str) -> Iterator[dict[str, Any]]:
    """What was said, message by message; in one piece where it comes as no list of messages, and nothing where there is none."""
    said = sent.get(turns)
    if isinstance(said, list) and said and all(isinstance(message, Mapping) for message in said):
        yield from ({"message": message} for message in said)
    else:
        yield {"given": said} if turns in sent else {}


def _part(raw: bytes) -> tuple[str, bytes]:
    return blake2b(raw, digest_size=_DIGEST_BYTES, person=b"part").hexdigest(), raw


# --- reading ---------------------------------------------------------------------------------------------------------------------


def put_together(told: Mapping[str, str], parts: Mapping[str, bytes]) -> dict[str, Any] | None:
    """The request of a step, as it was sent; None where a part of it is not there."""
    turns = TURNS[told.get("family", CHAT)]
    messages: list[Any] = []
    said: dict[str, Any] = {}
    name: str | None = told["head"]
    while name is not None:
        raw = parts.get(name)
        if raw is None:
            return None
        link = orjson.loads(raw)
        if "message" in link:
            messages.append(link["message"])
        elif "given" in link:
            said = {turns: link["given"]}
        name = link["after"]
    if messages:
        said = {turns: messages[::-1]}
    fields = parts.get(told["fields"])
    return None if fields is None else {**orjson.loads(fields), **said}


# --- comparing -------------------------------------------------------------------------------------------------------------------


def replayed(step: Recorded, cached: Mapping[str, Any] | None) -> Replayed:
    """Compare what the cache holds for a step with what was answered then.

    Args:
        step: as recorded, with its answer.
        cached: stored form of what the cache would answer this very request now, None if it would not.
    """
    wanted = step.told["answer_digest"]
    if not wanted:
        had_one = step.told["status"] == "200"  # complete for its caller, but not to be read by us
        return Replayed(step, Source.NONE, Verdict.GONE if had_one else Verdict.NO_ANSWER)
    if cached is not None:
        if answer_digest(cached) == wanted:
            return Replayed(step, Source.CACHE, Verdict.SAME, answer=cached)
        told = differences(meaning(step.answer or {}), meaning(cached)) if step.answer is not None else ()
        return Replayed(step, Source.CACHE, Verdict.DIFFERS, told, cached)
    if step.answer is not None and answer_digest(step.answer) == wanted:
        return Replayed(step, Source.RECORD, Verdict.SAME, answer=step.answer)
    return Replayed(step, Source.NONE, Verdict.GONE)


_MOST_DIFFERENCES = 5
_SHOWN_CHARS = 60


def differences(one: Any, other: Any, path: str = "") -> tuple[str, ...]:
    """Where two JSON-like values part, first places first: `messages[3].content: 'Lisbon' became 'Porto'`."""
    found: list[str] = []
    _compare(one, other, path, found)
    return tuple(found[:_MOST_DIFFERENCES])


def _compare(one: Any, other: Any, path: str, found: list[str]) -> None:
    if len(found) >= _MOST_DIFFERENCES or one == other:
        return
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for name in dict.fromkeys([*one, *other]):
            inner = f"{path}.{name}" if path else name
            if name not in other:
                found.append(f"{inner}: {_short(one[name])} is not there any more")
            elif name not in one:
                found.append(f"{inner}: {_short(other[name])} is new")
            else:
                _compare(one[name], other[name], inner, found)
    elif isinstance(one, list) and isinstance(other, list):
        for at, (before, after) in enumerate(zip(one, other, strict=False)):
            _compare(before, after, f"{path}[{at}]", found)
        if len(one) != len(other):
            found.append(f"{path}: {len(one)} became {len(other)}")
    else:
        found.append(f"{path}: {_short(one, other)} became {_short(other, one)}")


def _short(value: Any, beside: Any = None) -> str:
    """A value for a person; of a long text what follows the part that two have in common."""
    text = value if isinstance(value, str) else orjson.dumps(value, default=str).decode()
    start = 0
    if isinstance(value, str) and isinstance(beside, str):
        start = next((at for at, (a, b) in enumerate(zip(value, beside, strict=False)) if a != b), 0)
        start = max(0, start - 10) if max(len(value), len(beside)) > _SHOWN_CHARS else 0
    shown = text[start : start + _SHOWN_CHARS]
    return repr(("…" if start else "") + shown + ("…" if start + _SHOWN_CHARS < len(text) else ""))
