"""Memory through the proxy: what is remembered of a request's user is told to the model; what was said is handed on to be remembered.

It never breaks the call: whatever goes wrong, the request goes on as it was sent, and a word says why. How memories are drawn from an
answered turn, off its path, is `services.extraction`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Protocol

import orjson

from proxy.core.canonical import OWN_FIELDS, plain_text
from proxy.core.keys import digest
from proxy.core.memory.extraction import MAX_SAID_CHARS, Said, Source, Strategy
from proxy.core.memory.injection import QUERY_CHARS, Injection, injection_of, question_in
from proxy.core.memory.records import Conditions, FoundMemories, Owner, Search
from proxy.errors import RequestError, StoreError, StoreUnavailableError, where
from proxy.ports import Guard, Headers, Upstream
from proxy.services.calls import Call, Decision
from proxy.services.extraction import Extraction
from proxy.services.recorder import Recorder

logger = logging.getLogger("deja.memory")


class Skipped(StrEnum):
    """Why no memories were looked for, or told."""

    NO_USER = "no-user"  # neither the request nor its session says whose memories
    NO_QUESTION = "no-question"  # no words of a user to look for
    DEADLINE = "deadline"
    EMBEDDER_UNAVAILABLE = "embedder-unavailable"
    STORE_UNAVAILABLE = "store-unavailable"
    ERROR = "error"


class Finder(Protocol):
    """Long-term memory; see `services.memories`."""

    async def search(self, tenant: str, wanted: Search) -> FoundMemories:
        """The memories that fit, best first."""


class SessionUsers(Protocol):
    """Knows whose a session is."""

    async def user_of(self, tenant: str, session: str) -> str | None:
        """The user of a session, None where it has none. Raises StoreError."""


@dataclass(frozen=True, slots=True)
class ReadPolicy:
    """Bounds.

    Attributes:
        most: memories told with one request.
        max_tokens: of them together, about.
        max_distance: cosine distance in [0, 2] beyond which a memory has nothing to do with the question.
        deadline_s: for the whole look.
    """

    most: int
    max_tokens: int
    max_distance: float
    deadline_s: float


@dataclass(frozen=True, slots=True)
class Recalled:
    """What became of the wish to read.

    Attributes:
        call: with the memories in what travels upstream; as it was where there are none.
        version: digest of the memories told, None for none.
        told: in a word for header and metric: `read=3`, `skipped=no-user`.
    """

    call: Call
    version: str | None
    told: str


class MemoryReader:
    """Tells the model what is remembered.

    Args:
        memories: where they are found.
        users: whose a session is.
        guard: bounds what Redis may cost.
        policy: bounds.
        on_read: told of each look: how many were told, or why none were looked for.
    """

    def __init__(
        self,
        memories: Finder,
        users: SessionUsers,
        guard: Guard,
        *,
        policy: ReadPolicy,
        on_read: Callable[[int | Skipped], None],
    ) -> None:
        self._memories = memories
        self._users = users
        self._guard = guard
        self._policy = policy
        self._on_read = on_read

    async def recall(self, call: Call) -> Recalled:
        """Look for what is remembered of the request's user, and add it; never raises on account of memory."""
        found = await self._bounded(call)
        if isinstance(found, Skipped):
            self._on_read(found)
            return Recalled(call, None, f"skipped={found}")
        self._on_read(found.count if found is not None else 0)
        if found is None:
            return Recalled(call, None, "read=0")
        return Recalled(_with(call, found), found.version, f"read={found.count}")

    async def _bounded(self, call: Call) -> Injection | Skipped | None:
        try:
            async with asyncio.timeout(self._policy.deadline_s):
                return await self._look(call)
        except TimeoutError:
            return Skipped.DEADLINE
        except StoreError as error:
            logger.debug("request %s goes without memories: %s", call.request_id, error)
            return Skipped.STORE_UNAVAILABLE
        except RequestError as error:
            if error.code == "embedder_unavailable":
                return Skipped.EMBEDDER_UNAVAILABLE
            logger.warning("request %s goes without memories: %s", call.request_id, error)
            return Skipped.ERROR
        except Exception as error:
            # The same wall as around the cache: the call goes on without.
            logger.error("request %s goes without memories: %s", call.request_id, where(error))
            return Skipped.ERROR

    async def _look(self, call: Call) -> Injection | Skipped | None:
        told_in = question_in(call.conversation) if call.dialect.tells_memories else None
        if told_in is None:
            return Skipped.NO_QUESTION
        user = await self._user(call)
        if user is None:
            return Skipped.NO_USER
        # The very text that is matched by meaning, where it is: its vector is made once for both.
        text = call.directives.query or call.request.question or told_in
        wanted = Search(
            text=text[:QUERY_CHARS],
            conditions=Conditions(owner=Owner(user, call.directives.namespace or None)),
            limit=self._policy.most,
            max_distance=self._policy.max_distance,
        )
        found = await self._memories.search(call.tenant, wanted)
        return injection_of(found.found, max_tokens=self._policy.max_tokens)

    async def _user(self, call: Call) -> str | None:
        user = call.user
        if user is not None or call.directives.session is None:
            return user
        async with self._guard.within(self._policy.deadline_s):
            return await self._users.user_of(call.tenant, call.directives.session)


def _with(call: Call, injection: Injection) -> Call:
    # In the caller's order of fields: providers' prefix caches see tools and schemas as they are without memories.
    body = {name: value for name, value in call.sent.items() if name not in OWN_FIELDS}
    told = call.dialect.with_memories(body, injection.block)
    return replace(call, body=orjson.dumps(told), prompt_chars=call.prompt_chars + len(injection.block))


# --- writing -------------------------------------------------------------------------------------------------------------------

_CREDENTIALS = frozenset({b"authorization", b"api-key", b"x-api-key"})


@dataclass(frozen=True, slots=True)
class Turn:
    """What was said in one request and its answer.

    Attributes:
        source: whose it is; the user may still be missing, where the request names a session alone.
        said: the user's message, and the answer if there is one to read.
        upstream, credentials: where the request went, and by which right.
    """

    source: Source
    said: tuple[Said, ...]
    upstream: Upstream
    credentials: Headers

    @property
    def size_bytes(self) -> int:
        """About."""
        return sum(len(each.text) for each in self.said)


class TurnSink:
    """Hands turns on to `Extraction`; written in batches by a `Recorder`, off the path.

    Args:
        extraction: takes them.
        users: whose a session is.
        guard: bounds what Redis may cost.
        deadline_s: for one look at a session.
    """

    def __init__(self, extraction: Extraction, users: SessionUsers, guard: Guard, *, deadline_s: float) -> None:
        self._extraction = extraction
        self._users = users
        self._guard = guard
        self._deadline_s = deadline_s

    async def append(self, records: Sequence[Turn]) -> None:
        """Hand turns on; what belongs to nobody is left out, since nobody could be told of it. Raises StoreError."""
        for turn in records:
            source = turn.source
            if source.user is None and source.session is not None:
                async with self._guard.within(self._deadline_s):
                    source = replace(source, user=await self._users.user_of(source.tenant, source.session))
            if source.user is None:
                continue
            self._extraction.lend(source, turn.upstream, turn.credentials)
            try:
                await self._extraction.take(source, turn.said)
            except RequestError as error:
                if error.status == 503:  # it may not be kept
                    raise StoreUnavailableError(str(error)) from error
                logger.warning("a turn is not remembered: %s", error)


class MemoryWriter:
    """Notes what was said, for memories to be drawn from it.

    Args:
        turns: takes them off the path.
        strategy, prompt: how memories are drawn.
        now: unix time in seconds.
    """

    def __init__(self, turns: Recorder[Turn], *, strategy: Strategy, prompt: str, now: Callable[[], float]) -> None:
        self._turns = turns
        self._strategy = strategy
        self._prompt = prompt
        self._now = now

    def note(self, decision: Decision, answered: Mapping[str, Any] | None) -> None:
        """Note an answered request that wished so; some 10 us and the length of the user's message."""
        call = decision.call
        wish = call.directives.memory
        user, session = call.user, call.directives.session
        text = question_in(call.conversation)
        if wish is None or not wish.writes or text is None or (user is None and session is None):
            return
        source = Source(call.tenant, user, session, call.directives.namespace or None, self._strategy, self._prompt)
        turns = sum(message.get("role") == "user" for message in call.conversation)
        at = self._now()
        # The same turn sent again, or once more in a loop of tool calls, has the same id: its place in the conversation, and its words.
        said = [Said(digest("user-said", turns, text), "user", text[:MAX_SAID_CHARS], at)]
        answer = plain_text(answered.get("content")) if answered is not None else None
        if answer:
            answer_id = digest("answer-said", turns, text, answer)
            said.append(Said(answer_id, "assistant", answer[:MAX_SAID_CHARS], at + 0.001))
        credentials = tuple(pair for pair in call.headers if pair[0] in _CREDENTIALS)
        self._turns.put(Turn(source, tuple(said), decision.route.upstream, credentials))


def write_wish(call: Call) -> str | None:
    """What becomes of the wish to remember, as the header says it; None where there is none."""
    wish = call.directives.memory
    if wish is None or not wish.writes:
        return None
    is_somebodys = call.user is not None or call.directives.session is not None
    return "write=later" if is_somebodys else "write=no-user"
