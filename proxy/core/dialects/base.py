"""What a dialect is: all that the cache has to know of one model API, and nothing of HTTP, Redis or the clock.

A dialect says which of a request's fields keep answers apart and which text is matched by meaning; takes answers apart, whole and
streamed; replays stored ones under new ids; and words errors as its SDKs expect them. Rooms are per dialect (`family`), so no answer
crosses from one to another.

Where others look at what was said (sessions, memories, the journal, audits) they see *chat's shape*: messages with role, content
and tool_calls. For chat that is the request itself, for the others a translation for reading; keys are never made from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from proxy.core.answers import Answer
from proxy.core.models import ChatRequest, Entry
from proxy.core.sse import Ending

Mint = Callable[[str], str]
"""Makes an unguessable id that begins with the letters given."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What went wrong, before it has a shape.

    Attributes:
        status: HTTP status.
        message: what happened and how to mend it.
        kind: OpenAI's error `type`.
        code: a stable machine-readable word.
        param: the field or header at fault, None when no single one is.
    """

    status: int
    message: str
    kind: str
    code: str
    param: str | None = None


@dataclass(frozen=True, slots=True)
class Replay:
    """What is new about an answer served again.

    Attributes:
        mint: makes its ids.
        created: unix time in whole seconds.
        request: what it answers.
        sent: the same as it was sent.
        answer_id: its id, where it was made before; else "".
    """

    mint: Mint
    created: int
    request: ChatRequest
    sent: Mapping[str, Any]
    answer_id: str = ""


class Dialect(Protocol):
    """One model API."""

    @property
    def family(self) -> str:
        """Its name: part of every room, and the route's name in metrics."""

    @property
    def path(self) -> str:
        """Of its requests, below the base URL: `/chat/completions`."""

    @property
    def tells_memories(self) -> bool:
        """Whether `with_memories` can be asked for."""

    def canonical(self, body: Mapping[str, Any], *, key_user: bool) -> ChatRequest:
        """Bring a parsed request body into canonical form; `body` is not changed.

        Raises:
            RequestError: a field that must be understood to serve the request safely has the wrong shape.
        """

    def prompt_chars(self, body: Mapping[str, Any]) -> int:
        """Length of what the model is given, about, for a usage estimate."""

    def user_of(self, body: Mapping[str, Any]) -> str | None:
        """Who the request says its user is, None where it does not."""

    def conversation(self, body: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        """The request's messages in chat's shape, at least one; as much of them as can be said in it."""

    def with_memories(self, body: Mapping[str, Any], block: str) -> dict[str, Any]:
        """The body with a block of text at the end of the last user turn; nothing else is changed."""

    def whole(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The same request, answered in one piece."""

    def turns(self, request: ChatRequest, answer: Answer) -> list[dict[str, Any]]:
        """The prefix that the next turn will have: this conversation, this turn, this answer, the last as one canonical message."""

    def read_json(self, raw: bytes) -> Answer:
        """Take a non-streamed answer apart. Raises Malformed."""

    def read_stream(self, raw: bytes, *, prompt_chars: int) -> Answer:
        """Take all bytes of a stream apart. Raises Malformed."""

    def ending(self) -> Ending:
        """What sees a stream come to its end."""

    def message_of(self, stored: Mapping[str, Any]) -> dict[str, Any] | None:
        """What a stored body says, in chat's shape; None where it cannot be told."""

    def render_json(self, entry: Entry, replay: Replay) -> bytes:
        """Replay an entry, whose `wire` allows it, as one JSON response."""

    def render_stream(self, entry: Entry, replay: Replay) -> list[bytes]:
        """Replay an entry, whose `wire` allows it, as server-sent events up to the closing one."""

    def error_body(self, fault: Fault) -> bytes:
        """An error as the body of a response."""

    def error_event(self, fault: Fault) -> bytes:
        """An error as the event that ends a stream which has begun."""
