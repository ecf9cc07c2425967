"""A session's working memory: messages, memories that are to become long-term ones, free data, a summary of what came before."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import orjson

from proxy.core.keys import encode
from proxy.core.memory.records import Memory, MemoryType


@dataclass(frozen=True, slots=True)
class SessionName:
    """What a session is called within its tenant; the same id under another user or namespace is another session.

    Attributes:
        session: its id.
        user, namespace: whose it is, None for nobody's.
    """

    session: str
    user: str | None = None
    namespace: str | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """Something that was said. Times are unix seconds.

    Attributes:
        message_id: the caller's own or minted.
        role: who said it: `user`, `assistant`, …
        content: its text.
        created_at: when it was said.
        persisted_at: when it went to long-term memory, None if it has not.
        is_extracted: memories have been drawn from it.
    """

    message_id: str
    role: str
    content: str
    created_at: float
    persisted_at: float | None = None
    is_extracted: bool = False


@dataclass(frozen=True, slots=True)
class KeptMemory:
    """A memory that a caller put into working memory.

    Attributes:
        memory: it.
        persisted_at: when it went to long-term memory, None if it has not.
    """

    memory: Memory
    persisted_at: float | None = None


@dataclass(frozen=True, slots=True)
class WorkingMemory:
    """What is known of a session. Times are unix seconds.

    Attributes:
        name: which session.
        messages: in the caller's order.
        memories: in the caller's order.
        data: free JSON.
        context: summary of messages that are no longer there, None for none.
        tokens: the caller's own count.
        strategy, strategy_config: how memories are to be drawn from the messages.
        ttl_s: seconds after the last change at which it goes; None keeps it.
        created_at: None lets the store say when it was first put.
        updated_at, accessed_at: when it was last put; what the caller says of its last use.
        version: how often it was put.
    """

    name: SessionName
    messages: tuple[Message, ...] = ()
    memories: tuple[KeptMemory, ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)
    context: str | None = None
    tokens: int = 0
    strategy: str = "discrete"
    strategy_config: Mapping[str, Any] = field(default_factory=dict)
    ttl_s: int | None = None
    created_at: float | None = None
    updated_at: float = 0.0
    accessed_at: float = 0.0
    version: int = 0

    def owned(self) -> WorkingMemory:
        """The same with every memory being its session's, and so its user's, where it does not say whose it is."""
        return replace(
            self,
            memories=tuple(
                replace(
                    kept,
                    memory=replace(
                        kept.memory,
                        user=kept.memory.user or self.name.user,
                        session=kept.memory.session or self.name.session,
                        namespace=kept.memory.namespace or self.name.namespace,
                    ),
                )
                for kept in self.memories
            ),
        )

    def to_promote(self) -> list[Memory]:
        """The memories that belong into long-term memory and are not there."""
        return [kept.memory for kept in self.memories if kept.persisted_at is None]

    def promoted(self, at: float, *, but: Collection[str] = ()) -> WorkingMemory:
        """The same with every memory marked as gone to long-term memory, but those with some ids."""
        return replace(
            self,
            memories=tuple(
                kept if kept.memory.memory_id in but else replace(kept, persisted_at=kept.persisted_at or at)
                for kept in self.memories
            ),
        )


def to_stored(memory: WorkingMemory) -> dict[str, str | bytes]:
    """The fields of its hash; times and version are added by the store.

    Raises:
        RequestError: the data is nested too deeply to be written.
    """
    return {
        "session_id": memory.name.session,
        "user_id": memory.name.user or "",
        "namespace": memory.name.namespace or "",
        "messages": encode([_plain(message) for message in memory.messages]),
        "memories": memories_to_stored(memory),
        "data": encode(memory.data),
        "context": memory.context or "",
        "tokens": str(memory.tokens),
        "strategy": memory.strategy,
        "strategy_config": encode(memory.strategy_config),
        "ttl_s": "" if memory.ttl_s is None else str(memory.ttl_s),
        "accessed_at": repr(memory.accessed_at),
    }


def memories_to_stored(memory: WorkingMemory) -> bytes:
    """The field `memories` of its hash."""
    return encode([_plain(kept.memory) | {"persisted_at": kept.persisted_at} for kept in memory.memories])


def from_stored(stored: Mapping[bytes, bytes]) -> WorkingMemory:
    """Read the fields of a hash."""
    texts = {name.decode(): value for name, value in stored.items()}
    word = {name: value.decode() for name, value in texts.items() if name not in _JSON}
    return WorkingMemory(
        name=SessionName(word["session_id"], word["user_id"] or None, word["namespace"] or None),
        messages=tuple(Message(**_known(Message, one)) for one in orjson.loads(texts["messages"])),
        memories=tuple(_kept(one) for one in orjson.loads(texts["memories"])),
        data=orjson.loads(texts["data"]),
        context=word["context"] or None,
        tokens=int(word["tokens"]),
        strategy=word["strategy"],
        strategy_config=orjson.loads(texts["strategy_config"]),
        ttl_s=int(word["ttl_s"]) if word["ttl_s"] else None,
        created_at=float(word["created_at"]),
        updated_at=float(word["updated_at"]),
        accessed_at=float(word["accessed_at"]),
        version=int(word["version"]),
    )


_JSON = ("messages", "memories", "data", "strategy_config")


def _plain(value: Any) -> dict[str, Any]:
    return {each.name: getattr(value, each.name) for each in fields(value)}  # flat; `asdict` would copy deeply


def _known(kind: type[Any], one: Mapping[str, Any]) -> dict[str, Any]:
    """What this version knows of a value: another one may have written more."""
    return {each.name: one[each.name] for each in fields(kind) if each.name in one}


def _kept(one: Mapping[str, Any]) -> KeptMemory:
    known: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in _known(Memory, one).items()
        if name != "memory_type"
    }
    return KeptMemory(Memory(memory_type=MemoryType(one["memory_type"]), **known), one.get("persisted_at"))
