"""Keys as processes know them: made and revoked in one, believed in another; on a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from redis.asyncio import Redis

from proxy.core.access.audit_log import Admin
from proxy.core.access.callers import UNLIMITED, Allowance
from proxy.core.access.scopes import DATA
from proxy.core.access.sharing import Sharing
from proxy.errors import RequestError
from proxy.services.api_keys import ApiKeys, Wanted
from proxy.services.known_keys import KnownKeys
from proxy.stores.access import AccessStore
from proxy.stores.breaker import Guard
from proxy.stores.client import open_client
from tests.keeping import KeptAtOnce
from tests.redis_server import private_server

SECRET = b"deja's own"
BY = Admin("local", "127.0.0.1")
NOW_S = 1_700_000_000.0


class Counted(AccessStore):
    """A store that counts look-ups."""

    def __init__(self, client: Redis) -> None:
        super().__init__(client)
        self.found = 0

    async def find(self, hashed: str) -> tuple[str, bytes | None]:
        self.found += 1
        return await super().find(hashed)


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    with private_server() as running:
        yield running


@pytest.fixture
async def client(server: Any) -> AsyncIterator[Redis]:
    opened = open_client(server.url, deadline_ms=5000)
    await opened.flushall()
    yield opened
    await opened.aclose()


@pytest.fixture
async def guard(client: Redis) -> AsyncIterator[Guard]:
    opened = Guard(client.ping)
    yield opened
    await opened.aclose()


@pytest.fixture
def store(client: Redis) -> Counted:
    return Counted(client)


@pytest.fixture
def keys(store: Counted, guard: Guard) -> ApiKeys:
    return ApiKeys(store, guard, KeptAtOnce(), secret=SECRET, deadline_s=5.0, now=lambda: NOW_S)


@pytest.fixture
def known(store: Counted, guard: Guard) -> KnownKeys:
    return KnownKeys(store, guard, secret=SECRET, deadline_s=5.0)


def wanted(**fields: Any) -> Wanted:
    given: dict[str, Any] = {
        "name": "app",
        "tenant": None,
        "team": None,
        "scopes": DATA,
        "allowance": UNLIMITED,
        "expires_at": None,
    }
    return Wanted(**given | fields)


async def test_a_key_is_looked_up_once_and_believed_until_something_changes(
    keys: ApiKeys, known: KnownKeys, store: Counted
) -> None:
    key, record = await keys.create(BY, wanted())
    for _ in range(3):
        caller = await known.caller(key.encode())
        assert caller is not None
        assert caller.key_id == record.key_id
        await known.refresh()
    assert store.found == 1
    await keys.create(BY, wanted())
    await known.refresh()
    assert await known.caller(key.encode())
    assert store.found == 2


async def test_a_revoked_key_is_refused_after_the_next_look(keys: ApiKeys, known: KnownKeys) -> None:
    key, record = await keys.create(BY, wanted())
    assert await known.caller(key.encode())
    await keys.revoke(BY, record.key_id)
    await known.refresh()
    assert await known.caller(key.encode()) is None


async def test_a_rotation_keeps_the_tenant_and_ends_the_old_key_with_its_grace(keys: ApiKeys, known: KnownKeys) -> None:
    old, record = await keys.create(BY, wanted())
    before = await known.caller(old.encode())
    new, _ = await keys.rotate(BY, record.key_id, grace_s=60.0)
    await known.refresh()
    callers = [await known.caller(key.encode()) for key in (old, new)]
    assert before is not None
    assert [caller and caller.tenant for caller in callers] == [before.tenant] * 2
    assert [caller and caller.expires_at for caller in callers] == [NOW_S + 60.0, None]
    newest, _ = await keys.rotate(BY, record.key_id, grace_s=60.0)
    await known.refresh()
    assert [await known.caller(key.encode()) is None for key in (old, new, newest)] == [True, False, False]


async def test_an_invented_key_costs_redis_nothing(known: KnownKeys, store: Counted) -> None:
    for number in range(100):
        assert await known.caller(f"dk_{number:080x}".encode()) is None
    assert store.found == 0


async def test_a_changed_limit_is_in_force_after_the_next_look(keys: ApiKeys, known: KnownKeys) -> None:
    key, record = await keys.create(BY, wanted())
    await known.caller(key.encode())
    await keys.change(BY, record.key_id, {"allowance": Allowance(requests_per_minute=7)})
    await known.refresh()
    caller = await known.caller(key.encode())
    assert caller is not None
    assert caller.allowance.requests_per_minute == 7


async def test_without_redis_known_keys_go_on_and_others_get_503(server: Any, keys: ApiKeys) -> None:
    key, _ = await keys.create(BY, wanted())
    unseen, _ = await keys.create(BY, wanted())
    away = open_client("unix:///nowhere/redis.sock", deadline_ms=500)
    here = open_client(server.url, deadline_ms=5000)
    guard = Guard(away.ping)
    known = KnownKeys(AccessStore(here), guard, secret=SECRET, deadline_s=1.0)
    assert await known.caller(key.encode())
    known._records = AccessStore(away)
    known._version = "changed meanwhile"  # what is held would have to be looked up anew
    try:
        assert await known.caller(key.encode())
        with pytest.raises(RequestError) as caught:
            await known.caller(unseen.encode())
        assert (caught.value.status, caught.value.code) == (503, "redis_unavailable")
        assert await known.caller(b"dk_" + b"0" * 80) is None
    finally:
        await guard.aclose()
        await away.aclose()
        await here.aclose()


async def test_after_everything_was_wiped_no_key_is_good(client: Redis, keys: ApiKeys, known: KnownKeys) -> None:
    key, _ = await keys.create(BY, wanted())
    assert await known.caller(key.encode())
    await client.flushall()
    await known.refresh()
    assert await known.caller(key.encode()) is None


async def test_sharing_is_known_after_the_next_look_and_taken_back_as_well(keys: ApiKeys, known: KnownKeys) -> None:
    await keys.share(BY, "faq", Sharing.TEAM)
    await keys.share(BY, "", Sharing.GLOBAL)
    await known.refresh()
    assert known.levels == {"faq": Sharing.TEAM, "": Sharing.GLOBAL}
    await keys.share(BY, "faq", Sharing.KEY)
    await known.refresh()
    assert known.levels == {"": Sharing.GLOBAL}


async def test_every_change_is_in_the_log_and_no_key_is(keys: ApiKeys, client: Redis) -> None:
    key, record = await keys.create(BY, wanted(team="red"))
    await keys.change(BY, record.key_id, {"name": "other"})
    new, _ = await keys.rotate(BY, record.key_id, grace_s=0.0)
    await keys.share(BY, "faq", Sharing.TEAM)
    await keys.revoke(BY, record.key_id)
    lines = await keys.audit(before=None, limit=10)
    actions = ["keys.revoke", "namespaces.share", "keys.rotate", "keys.change", "keys.create"]
    assert [line["action"] for line in lines] == actions
    assert lines[3]["details"] == {"name": "other"}
    assert {line["by"] for line in lines} == {"local"}
    assert [line["id"] for line in await keys.audit(before=lines[1]["id"], limit=1)] == [lines[2]["id"]]
    kept = [await client.dump(name) for name in await client.keys("*")]
    assert not any(told[3:].encode() in raw for told in (key, new) for raw in kept if raw)


async def test_changes_at_once_lose_none(keys: ApiKeys) -> None:
    """Each either is in the record or was told that others were quicker."""
    _, record = await keys.create(BY, wanted())

    async def change(number: int) -> bool:
        try:
            await keys.change(BY, record.key_id, {"name": f"n{number}"})
        except RequestError as error:
            return error.code != "write_contention"
        return True

    done = await asyncio.gather(*map(change, range(20)))
    lines = await keys.audit(before=None, limit=100)
    assert sum(done) == sum(line["action"] == "keys.change" for line in lines)
    assert (await keys.read(record.key_id)).name == lines[0]["details"]["name"]
