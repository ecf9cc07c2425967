from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import orjson
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.access.api_keys import (
    CHANCE_BYTES,
    KeyRecord,
    compose,
    hash_of,
    is_minted,
    looks_minted,
    tenant_of_name,
)
from proxy.core.access.callers import UNLIMITED, Allowance
from proxy.core.access.scopes import KeyScope
from proxy.core.keys import tenant_of

SECRET = b"deja's own"
CHANCE = st.binary(min_size=CHANCE_BYTES, max_size=CHANCE_BYTES)
ALLOWANCES = st.builds(
    Allowance,
    requests_per_minute=st.none() | st.integers(1, 10**15),
    tokens_per_day=st.none() | st.integers(1, 10**15),
    usd_per_day=st.none() | st.decimals("0.000000001", "999999999", places=9),
    usd_per_month=st.none() | st.decimals("0.01", "1000000", places=2),
)


def record(**fields: object) -> KeyRecord:
    known = KeyRecord(key_id="key_1", name="n", tenant="shop", hash="aa", hint="dk_1", created_at=5.0)
    return replace(known, **fields)  # type: ignore[arg-type]


@given(CHANCE)
def test_what_deja_made_it_knows_again_and_no_other_does(chance: bytes) -> None:
    key = compose(chance, SECRET).encode()
    assert looks_minted(key)
    assert is_minted(key, SECRET)
    assert not is_minted(key, b"another's")


@given(CHANCE, st.data())
def test_a_key_with_one_sign_changed_was_never_made(chance: bytes, data: st.DataObject) -> None:
    key = compose(chance, SECRET)
    at = data.draw(st.integers(0, len(key) - 1))
    sign = data.draw(st.sampled_from("0123456789abcdefxyz_").filter(lambda sign: sign != key[at]))
    assert not is_minted((key[:at] + sign + key[at + 1 :]).encode(), SECRET)


@given(st.binary(max_size=100))
def test_no_invented_credential_was_made_by_deja(credential: bytes) -> None:
    assert not is_minted(credential, SECRET)


def test_a_record_holds_nothing_that_lets_one_use_the_key() -> None:
    key = compose(bytes(CHANCE_BYTES), SECRET)
    kept = orjson.dumps(record(hash=hash_of(key.encode(), SECRET)).as_json()).decode()
    assert key not in kept
    assert bytes(CHANCE_BYTES).hex() not in kept
    assert not {"hash", "previous_hash"} & set(record().shown())


@given(ALLOWANCES, st.sets(st.sampled_from(KeyScope), min_size=1), st.none() | st.floats(0, 1e12))
def test_a_record_comes_back_as_it_was_written(allowance: Allowance, scopes: set[KeyScope], end: float | None) -> None:
    written = record(allowance=allowance, scopes=frozenset(scopes), expires_at=end, previous_hash="bb", team="t")
    assert KeyRecord.from_json(orjson.loads(orjson.dumps(written.as_json()))) == written


def test_money_is_not_rounded_on_the_way() -> None:
    assert Allowance.from_json(Allowance(usd_per_day=Decimal("0.100000001")).as_json()).usd_per_day == Decimal(
        "0.100000001"
    )
    assert UNLIMITED.as_json() == {}
    assert UNLIMITED.is_unlimited


def test_after_a_rotation_both_keys_are_one_tenant_and_the_old_one_ends() -> None:
    old = record()
    new = old.rotated("dk_2", "bb", previous_until=100.0)
    callers = [new.caller(hashed, SECRET) for hashed in ("aa", "bb")]
    assert [caller and caller.tenant for caller in callers] == [tenant_of_name("shop", SECRET)] * 2
    assert [caller and caller.expires_at for caller in callers] == [100.0, None]
    assert new.caller("cc", SECRET) is None


def test_a_grace_is_no_longer_life_than_the_key_had() -> None:
    new = record(expires_at=50.0).rotated("dk_2", "bb", previous_until=100.0)
    caller = new.caller("aa", SECRET)
    assert caller is not None
    assert caller.expires_at == 50.0


def test_a_second_rotation_ends_the_oldest_key() -> None:
    twice = record().rotated("dk_2", "bb", previous_until=100.0).rotated("dk_3", "cc", previous_until=200.0)
    assert twice.caller("aa", SECRET) is None


@given(st.text(min_size=1), st.text(min_size=1))
def test_a_named_tenant_is_no_credentials_tenant_and_no_other_names(name: str, other: str) -> None:
    assert tenant_of_name(name, SECRET) != tenant_of(other.encode(), SECRET)
    assert (tenant_of_name(name, SECRET) == tenant_of_name(other, SECRET)) is (name == other)
