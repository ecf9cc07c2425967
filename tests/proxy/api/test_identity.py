from __future__ import annotations

import base64
from typing import ClassVar

import pytest

from proxy.api.identity import CALLER, Identity
from proxy.core.access import api_keys
from proxy.core.access.callers import Caller
from proxy.core.access.scopes import KeyScope
from proxy.core.access.sharing import Sharing
from proxy.errors import RequestError
from proxy.ports import Headers

SECRET = b"deja's own"


def bearer(key: str) -> Headers:
    return ((b"accept", b"*/*"), (b"authorization", b"Bearer " + key.encode()))


def tenant(*headers: tuple[bytes, bytes], keys: tuple[bytes, ...] = ()) -> str:
    return Identity(SECRET, keys).tenant({"headers": headers})


# --- tenants ----------------------------------------------------------------------------------------------------------------------


def test_callers_with_different_keys_are_different_tenants() -> None:
    assert tenant(*bearer("sk-1")) != tenant(*bearer("sk-2"))
    assert tenant(*bearer("sk-1")) == tenant(*bearer("sk-1"))


def test_a_caller_without_a_key_is_anonymous() -> None:
    for headers in ((), ((b"accept", b"*/*"),), bearer(""), ((b"authorization", b"  "),), ((b"api-key", b""),)):
        assert tenant(*headers) == "anonymous"


@pytest.mark.parametrize("name", [b"authorization", b"api-key", b"x-api-key"])
def test_a_key_is_read_wherever_openai_azure_and_anthropic_put_it(name: bytes) -> None:
    assert tenant((name, b"sk-1")) == tenant(*bearer("sk-1"))


@pytest.mark.parametrize("value", [b"bearer sk-1", b"BEARER  sk-1 ", b"Bearer sk-1"])
def test_how_bearer_is_written_makes_no_difference(value: bytes) -> None:
    assert tenant((b"authorization", value)) == tenant(*bearer("sk-1"))


@pytest.mark.parametrize("pair", [b":sk-1", b"sk-1:"])
def test_a_key_alone_in_a_url_is_that_key(pair: bytes) -> None:
    """http://:sk-1@host: for clients that have no setting for a key."""
    basic = (b"authorization", b"Basic " + base64.b64encode(pair))
    assert tenant(basic) == tenant(*bearer("sk-1"))
    assert tenant(basic, keys=(b"sk-1",)) == tenant(*bearer("sk-1"), keys=(b"sk-1",))


def test_other_schemes_keep_callers_apart_too() -> None:
    basic = tenant((b"authorization", b"Basic YTpi"))
    assert basic not in ("anonymous", tenant((b"authorization", b"Basic YTpj")), tenant((b"authorization", b"Basic")))


def test_a_caller_that_sends_two_keys_is_told_apart_by_both() -> None:
    """Which one the provider goes by is the provider's business; an SDK may send a dummy beside the real one."""
    dummy = (b"authorization", b"Bearer unused")
    mine, other = tenant(dummy, (b"api-key", b"k1")), tenant(dummy, (b"api-key", b"k2"))
    assert len({mine, other, tenant(dummy), tenant((b"api-key", b"k1"))}) == 4


def test_an_empty_bearer_beside_a_key_does_not_hide_it() -> None:
    assert tenant((b"authorization", b"Bearer "), (b"api-key", b"k1")) == tenant((b"api-key", b"k1"))


def test_a_header_sent_twice_hides_nothing() -> None:
    assert tenant(*bearer("a"), *bearer("b")) not in (tenant(*bearer("a")), tenant(*bearer("b")))


def test_replicas_need_one_secret_and_others_cannot_guess() -> None:
    assert Identity(b"other", ()).tenant({"headers": bearer("sk-1")}) != tenant(*bearer("sk-1"))
    assert "sk-1" not in tenant(*bearer("sk-1"))


# --- keys of Deja's own -----------------------------------------------------------------------------------------------------------

KEYS = (b"one", b"two")


@pytest.mark.parametrize(
    "headers", [bearer("two"), ((b"x-api-key", b"one"),), (*bearer("unused"), (b"api-key", b"one"))]
)
def test_a_caller_with_a_known_key_may_call(headers: Headers) -> None:
    assert len(tenant(*headers, keys=KEYS)) == 32


@pytest.mark.parametrize(
    "headers",
    [(), bearer("three"), bearer(""), bearer("on"), bearer("one two"), bearer("ONE"), bearer("onë")],
    ids=["none", "unknown", "empty", "prefix", "both", "capitals", "not ascii"],
)
def test_any_other_is_refused_and_told_how_to_mend_it(headers: Headers) -> None:
    with pytest.raises(RequestError) as caught:
        tenant(*headers, keys=KEYS)
    error = caught.value
    assert (error.status, error.code, error.kind) == (401, "invalid_api_key", "authentication_error")
    assert "DEJA_AUTH__KEYS" in error.message
    assert "three" not in error.message


def test_the_key_that_lets_a_caller_in_is_its_tenant() -> None:
    known = tenant(*bearer("one"), keys=KEYS)
    assert tenant(*bearer("one"), (b"x-api-key", b"whatever"), keys=KEYS) == known
    assert tenant(*bearer("two"), keys=KEYS) != known


class OneMinted:
    """Knows one key that Deja minted."""

    levels: ClassVar[dict[str, Sharing]] = {"faq": Sharing.TEAM}

    async def caller(self, credential: bytes, /) -> Caller | None:
        return Caller("named", "key_1", team="red") if credential == b"dk_good" else None


def with_minted(*keys: bytes, is_required: bool = False) -> Identity:
    identity = Identity(SECRET, keys, admin_keys=[(b"root", ""), (b"file", "local")], is_required=is_required)
    identity.use(OneMinted())
    return identity


async def test_a_minted_key_is_known_beside_configured_ones_and_beside_none() -> None:
    for identity in (with_minted(), with_minted(b"one"), with_minted(is_required=True)):
        assert (await identity.identify(bearer("dk_good"))).tenant == "named"
    assert (await with_minted(b"one").identify(bearer("one"))).tenant == tenant(*bearer("one"), keys=(b"one",))


async def test_a_minted_key_that_is_not_good_is_no_strangers_credential() -> None:
    for identity in (with_minted(), with_minted(is_required=True)):
        with pytest.raises(RequestError) as caught:
            await identity.identify(bearer("dk_revoked"))
        assert caught.value.status == 401
        assert "dk_revoked" not in caught.value.message
    assert (await with_minted().identify((*bearer("dk_revoked"), (b"api-key", b"dk_good")))).tenant == "named"


async def test_where_a_key_is_required_a_providers_is_none() -> None:
    with pytest.raises(RequestError):
        await with_minted(is_required=True).identify(bearer("sk-1"))
    assert not (await with_minted().identify(bearer("sk-1"))).is_known


async def test_an_admins_key_opens_no_data_and_is_told_from_others_in_the_log() -> None:
    found = [await with_minted().identify(bearer(key)) for key in ("root", "file")]
    assert [caller.scopes for caller in found] == [frozenset({KeyScope.ADMIN})] * 2
    assert found[0].key_id is not None
    assert found[0].key_id.startswith("admin-")
    assert "root" not in found[0].key_id
    assert found[1].key_id == "local"


async def test_minted_and_admin_keys_never_travel_upstream() -> None:
    for key in ("dk_good", "dk_whatever", "root"):
        assert with_minted().for_upstream((*bearer(key), (b"x-api-key", b"sk-1"))) == ((b"accept", b"*/*"),)
    assert with_minted().for_upstream(bearer("sk-1")) == bearer("sk-1")


async def test_what_the_door_found_is_not_asked_again() -> None:
    found = Caller("behind the door", "key_9")
    assert with_minted().caller({"headers": bearer("sk-1"), CALLER: found}) is found


async def test_a_shared_namespace_has_a_space_of_its_own() -> None:
    identity = with_minted()
    caller = await identity.identify(bearer("dk_good"))
    space, sharing = identity.space(caller, "faq")
    assert sharing == "team"
    assert space not in ("", caller.tenant)
    assert identity.space(caller, "other") == ("", "")
    assert identity.space(await identity.identify(bearer("sk-1")), "faq") == ("", "")


def test_keys_of_deja_never_travel_upstream() -> None:
    headers = (*bearer("one"), (b"api-key", b"x"), (b"x-api-key", b"y"), (b"openai-organization", b"o"))
    assert Identity(SECRET, KEYS).for_upstream(headers) == ((b"accept", b"*/*"), (b"openai-organization", b"o"))
    assert Identity(SECRET, KEYS).owns_credentials


def test_a_callers_own_key_does() -> None:
    assert Identity(SECRET, ()).for_upstream(bearer("sk-1")) == bearer("sk-1")
    assert not Identity(SECRET, ()).owns_credentials


# --- remembered -------------------------------------------------------------------------------------------------------------------


class Minted:
    """One key, which may be revoked."""

    levels: ClassVar[dict[str, Sharing]] = {}

    def __init__(self) -> None:
        self.is_revoked = False

    async def caller(self, _: bytes, /) -> Caller | None:
        return None if self.is_revoked else Caller("tenant", "key_1")


async def test_a_minted_key_is_asked_about_each_time_and_others_are_remembered() -> None:
    identity, minted = Identity(SECRET, (b"sk-1",)), Minted()
    identity.use(minted)
    configured = await identity.identify(bearer("sk-1"))
    assert await identity.identify(bearer("sk-1")) is configured
    key = f"{api_keys.PREFIX}{'a' * 43}"
    assert (await identity.identify(bearer(key))).tenant == "tenant"
    minted.is_revoked = True
    for _ in range(2):
        with pytest.raises(RequestError):
            await identity.identify(bearer(key))
        with pytest.raises(RequestError):
            await identity.identify(bearer("sk-2"))
