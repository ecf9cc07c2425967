"""LangGraph's long-term store over Deja's memory: what one thread learned, another one finds by its meaning."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import datetime
from typing import Any
from urllib.parse import quote, unquote

import httpx
from langgraph.store.base import BaseStore, GetOp, Item, Op, PutOp, Result, SearchItem, SearchOp

FIELDS = frozenset({"text", "memory_type", "event_date", "topics", "entities"})
"""Of a value. A memory is a sentence, and what it is about; `text` is needed."""


class DejaStore(BaseStore):
    """A store whose items are memories of Deja; close it at the end.

    A namespace `("users", "ada")` and a key `diet` are the memory `users/ada/diet` in the namespace `users/ada/`, and a search below
    `("users",)` is one in all namespaces that begin with `users/`. An item is kept until it is deleted; two that say the same stay two.

    Args:
        base_url: of Deja, without /v1.
        api_key: whose memories they are.
    """

    supports_ttl = False

    def __init__(self, base_url: str, api_key: str) -> None:
        headers = {"Authorization": f"Bearer {api_key}"}
        self._http = httpx.Client(base_url=f"{base_url}/v1/long-term-memory", headers=headers, timeout=10)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Do what `get`, `put`, `delete` and `search` ask for, one after the other.

        Raises:
            ValueError: a value or a filter has a field that no memory has.
            NotImplementedError: namespaces are not listed.
            RuntimeError: Deja refused it; the message says why.
        """
        return [self._do(op) for op in ops]

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """The same, without holding up others."""
        return await asyncio.to_thread(self.batch, list(ops))

    def _do(self, op: Op) -> Result:
        match op:
            case GetOp():
                found = self._ask("GET", f"/{quote(_id(op.namespace, op.key), safe='')}")
                return None if found is None else Item(**_parts(found))
            case PutOp(value=None):
                self._ask("DELETE", "", params={"memory_ids": _id(op.namespace, op.key)})
                return None
            case PutOp():
                self._put(op)
                return None
            case SearchOp():
                return self._search(op)
            case _:
                raise NotImplementedError("Deja does not list namespaces; search below a prefix instead.")

    def _put(self, op: PutOp) -> None:
        value = dict(op.value or {})
        _check(value, "value", FIELDS)
        memory = {"id": _id(op.namespace, op.key), "namespace": _path(op.namespace), **value}
        self._ask("POST", "", json={"memories": [memory], "deduplicate": False})  # a key that was put is there

    def _search(self, op: SearchOp) -> list[SearchItem]:
        wanted = dict(op.filter or {})
        _check(wanted, "filter", FIELDS - {"text"})
        asked: dict[str, Any] = {"text": op.query or "", "limit": op.limit, "offset": op.offset}
        asked |= {name: {"eq": value} for name, value in wanted.items()}
        if op.namespace_prefix:
            asked["namespace"] = {"startswith": _path(op.namespace_prefix)}
        found = self._ask("POST", "/search", json=asked)
        return [SearchItem(**_parts(each), score=each["score"]) for each in found["memories"]]

    def _ask(self, method: str, path: str, **more: Any) -> Any:
        answer = self._http.request(method, path, **more)
        if answer.status_code == 404 and method == "GET":
            return None
        if answer.is_error:
            raise RuntimeError(f"Deja refused it ({answer.status_code}): {answer.text}")
        return answer.json()


def _path(namespace: tuple[str, ...]) -> str:
    return "".join(f"{quote(part, safe='')}/" for part in namespace)


def _id(namespace: tuple[str, ...], key: str) -> str:
    return _path(namespace) + quote(key, safe="")


def _parts(memory: dict[str, Any]) -> dict[str, Any]:
    """A memory as an item."""
    *namespace, key = memory["id"].split("/")
    value = {name: memory[name] for name in FIELDS if memory[name]}
    if value["memory_type"] == "semantic":
        del value["memory_type"]  # what a memory is that does not say
    return {
        "namespace": tuple(unquote(part) for part in namespace),
        "key": unquote(key),
        "value": value,
        "created_at": datetime.fromisoformat(memory["created_at"]),
        "updated_at": datetime.fromisoformat(memory["updated_at"]),
    }


def _check(fields: dict[str, Any], what: str, known: frozenset[str]) -> None:
    if unknown := fields.keys() - known:
        raise ValueError(f"A {what} cannot hold {sorted(unknown)}; it may hold {sorted(known)}.")
