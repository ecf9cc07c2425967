from __future__ import annotations

import re
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core import keys
from proxy.core.canonical import canonical_chat
from proxy.core.keys import Place, digest, partition_of, tenant_of
from proxy.errors import RequestError
from tests.builders import assistant, chat_body, place, system, user

HEX = re.compile(r"[0-9a-f]{32}\Z")


def room(*messages: dict[str, Any], **fields: Any) -> str:
    return place(chat_body(*messages, **fields)).room


# --- digests ----------------------------------------------------------------------------------------------------------------------


@given(st.lists(st.text(max_size=6), max_size=4), st.lists(st.text(max_size=6), max_size=4))
def test_digests_are_equal_only_for_equal_parts(one: list[str], other: list[str]) -> None:
    assert (digest("d", *one) == digest("d", *other)) == (one == other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(("a:b", "c"), ("a", "b:c"), id="separator inside"),
        pytest.param(("a", None), ("a",), id="absent"),
        pytest.param(("a", ""), ("a", None), id="empty and null"),
        pytest.param(("1",), (1,), id="text and number"),
        pytest.param((["a"], "b"), (["a", "b"],), id="nesting"),
        pytest.param((True,), (1,), id="boolean and number"),
    ],
)
def test_parts_never_run_into_each_other(one: tuple[Any, ...], other: tuple[Any, ...]) -> None:
    assert digest("d", *one) != digest("d", *other)


def test_the_same_parts_under_another_domain_are_another_digest() -> None:
    assert digest("room", "a") != digest("raw", "a")


@given(st.text())
def test_a_digest_is_lower_case_hex_of_128_bits(text: str) -> None:
    assert HEX.match(digest("d", text))


@given(
    st.dictionaries(
        st.text(max_size=4), st.integers() | st.dictionaries(st.text(max_size=3), st.booleans()), max_size=5
    )
)
def test_the_order_of_json_keys_never_matters(value: dict[str, Any]) -> None:
    value = {name: inner for name, inner in value.items() if not isinstance(inner, int) or abs(inner) < 2**63}
    turned = {
        name: dict(reversed(list(inner.items()))) if isinstance(inner, dict) else inner
        for name, inner in reversed(list(value.items()))
    }
    assert digest("d", value) == digest("d", turned)


@pytest.mark.parametrize("depth", [260, 1000])
def test_a_request_nested_too_deeply_is_refused_and_told_why(depth: int) -> None:
    body = orjson.loads(orjson.dumps(chat_body())[:-1] + b',"x":' + b"[" * depth + b"]" * depth + b"}")
    with pytest.raises(RequestError) as caught:
        place(body)
    assert caught.value.code == "nesting_too_deep"
    assert caught.value.status == 400


def test_nesting_that_real_schemas_use_is_fine() -> None:
    depth = 200
    assert HEX.match(
        place(orjson.loads(orjson.dumps(chat_body())[:-1] + b',"x":' + b"[" * depth + b"]" * depth + b"}")).room
    )


# --- rooms ------------------------------------------------------------------------------------------------------------------------

WHERE: dict[str, Any] = {
    "tenant": "t1",
    "namespace": "n",
    "upstream": ("https://other.example/v1",),
    "family": "completions",
}


@pytest.mark.parametrize("name", WHERE)
def test_what_surrounds_a_request_separates_rooms(name: str) -> None:
    assert place(**{name: WHERE[name]}).room != place().room


def test_tenant_and_namespace_do_not_run_into_each_other() -> None:
    assert place(tenant="a", namespace="b").room != place(tenant="ab", namespace="").room
    assert place(tenant="a", namespace="b").room != place(tenant="b", namespace="a").room


def test_every_part_of_the_upstream_separates_rooms() -> None:
    ways = [
        ("u",),
        ("u", "openai-organization: a"),
        ("u", "openai-organization: b"),
        ("u", "?", "api-version=1"),
        ("u", ""),
    ]
    assert len({place(upstream=way).room for way in ways}) == len(ways)


FIELDS: dict[str, Any] = {
    "model": "gpt-4o",
    "temperature": 0.1,
    "top_p": 0.5,
    "response_format": {"type": "json_object"},
    "tools": [{"type": "function", "function": {"name": "f"}}],
    "tool_choice": "none",
    "n": 2,
    "seed": 1,
    "stop": "x",
    "max_tokens": 5,
    "reasoning_effort": "high",
    "user": "u",
    "unheard_of": 1,
}


@pytest.mark.parametrize("name", FIELDS)
def test_a_keyed_field_separates_rooms(name: str) -> None:
    assert room(**{name: FIELDS[name]}) != room()


@pytest.mark.parametrize(
    "name", ["stream", "store", "metadata", "service_tier", "prompt_cache_key", "safety_identifier"]
)
def test_an_ignored_field_does_not(name: str) -> None:
    value = {"stream": True, "store": True, "metadata": {}}.get(name, "x")
    assert place(chat_body(**{name: value})) == place()


def test_two_values_of_a_field_separate_rooms() -> None:
    assert room(tools=[{"name": "a"}]) != room(tools=[{"name": "a"}, {"name": "b"}])
    assert room(tools=[{"name": "a"}, {"name": "b"}]) != room(tools=[{"name": "b"}, {"name": "a"}])
    assert room(temperature=0) != room(temperature=None)


def test_instructions_separate_rooms() -> None:
    rooms = [
        room(user()),
        room(system("a"), user()),
        room(system("b"), user()),
        room(system("a "), user()),
        room(system("a"), system("b"), user()),
        room({"role": "developer", "content": "a"}, user()),
    ]
    assert len(set(rooms)) == len(rooms)


def test_the_conversation_does_not_separate_rooms() -> None:
    assert room(user("a")) == room(user("b")) == room(user("a"), assistant(), user("b"))


# --- fingerprints -----------------------------------------------------------------------------------------------------------------


def fingerprint(*messages: dict[str, Any], **where: Any) -> str:
    return place(chat_body(*messages), **where).fingerprint


def test_the_fingerprint_holds_every_message() -> None:
    prints = [
        fingerprint(user("a")),
        fingerprint(user("A")),
        fingerprint(user("a", name="Al")),
        fingerprint(user("a"), assistant("b"), user("a")),
        fingerprint(user("a"), assistant("c"), user("a")),
        fingerprint(user("a"), user("a")),
        fingerprint(system("s"), user("a")),
        fingerprint(user([{"type": "text", "text": "a"}])),
        fingerprint(user("a"), assistant("b")),
        fingerprint(user("a"), assistant("b ")),
    ]
    assert len(set(prints)) == len(prints)


def test_where_one_message_ends_and_the_next_begins_matters() -> None:
    assert fingerprint(user("a"), assistant("b"), user("c")) != fingerprint(user("a"), assistant("bc"), user(""))


def test_the_fingerprint_holds_the_room_and_what_the_caller_named() -> None:
    prints = [
        fingerprint(),
        fingerprint(tenant="t"),
        fingerprint(namespace="n"),
        fingerprint(query="a"),
        fingerprint(context="a"),
        fingerprint(query="a", context="a"),
    ]
    assert len(set(prints)) == len(prints)


# --- prefixes and partitions ------------------------------------------------------------------------------------------------------


def partition(where: Place, context_id: str = "c") -> str:
    return partition_of(where.room, context_id, where.turn_hash)


def test_a_first_turn_has_no_prefix() -> None:
    assert place().prefix_hash is None
    assert place(chat_body(system(), user())).prefix_hash is None


def test_the_prefix_leaves_out_instructions_and_the_last_turn() -> None:
    first = place(chat_body(user("a"), assistant("b"), user("c")))
    second = place(chat_body(system(), user("a"), assistant("b"), user("d")))
    assert first.prefix_hash == second.prefix_hash is not None


def test_a_named_context_takes_the_prefixs_place() -> None:
    named = place(chat_body(user("a"), assistant("b"), user("c")), context="support")
    assert named.prefix_hash == place(context="support").prefix_hash
    assert named.prefix_hash != place(context="sales").prefix_hash


def test_a_named_context_is_no_prefix_that_a_conversation_could_have() -> None:
    assert keys.digest("named-context", "x") != keys.digest("prefix", "x")
    assert place(context="").prefix_hash not in (None, place(chat_body(user(""), user())).prefix_hash)


def test_partitions_differ_by_room_and_context() -> None:
    here = place()
    assert partition(here) != partition(place(namespace="n"))
    assert partition(here, "c") != partition(here, "d")
    assert HEX.match(partition(here))


def test_partitions_differ_by_what_the_last_turn_holds_besides_its_text() -> None:
    turns = [user("a"), user("a", name="Al"), user("a", name="Bo"), {"role": "function", "content": "a"}]
    assert len({partition(place(chat_body(turn))) for turn in turns}) == len(turns)
    assert partition(place(chat_body(user("a")))) == partition(place(chat_body(user("b"))))


def test_a_named_query_is_never_matched_against_a_whole_turn() -> None:
    assert partition(place(query="a")) != partition(place())
    assert partition(place(query="a")) == partition(place(query="b"))


# --- tenants ----------------------------------------------------------------------------------------------------------------------


def test_a_tenant_is_a_keyed_hash_of_the_credential() -> None:
    one = tenant_of(b"sk-1", b"secret")
    assert HEX.match(one)
    assert one == tenant_of(b"sk-1", b"secret")
    assert len({one, tenant_of(b"sk-2", b"secret"), tenant_of(b"sk-1", b"other")}) == 3


@pytest.mark.parametrize("credential", [None, b""])
def test_no_credential_is_anonymous(credential: bytes | None) -> None:
    assert tenant_of(credential, b"secret") == "anonymous"


# --- Redis names ------------------------------------------------------------------------------------------------------------------


def hash_tag(redis_key: str) -> str:
    """What Redis Cluster hashes: what stands between the first `{` and the next `}`."""
    return redis_key.split("{", 1)[1].split("}", 1)[0]


def test_all_keys_of_a_room_share_a_slot() -> None:
    names = [keys.exact_key("r", "f"), keys.context_key("r", "p"), keys.entry_key("e", "r", "ent_1")]
    assert {hash_tag(name) for name in names} == {"r"}
    assert len(set(names)) == 3
    assert all(name.startswith("deja:v1:") for name in names)


def test_an_index_covers_the_entries_of_its_embedder_alone() -> None:
    mine, other = keys.entry_prefix("minilm"), keys.entry_prefix("bge")
    assert keys.entry_key("minilm", "r", "ent_1").startswith(mine)
    assert not keys.entry_key("bge", "r", "ent_1").startswith(mine)
    assert mine != other
    assert keys.index_name("minilm") != keys.index_name("bge")
    assert re.fullmatch(r"[0-9a-f]{12}", keys.embedder_tag("any {name}: of a model"))


def test_sessions_of_two_tenants_never_share_a_key() -> None:
    tags = {
        keys.session_tag("a", "s"),
        keys.session_tag("b", "s"),
        keys.session_tag("a", "t"),
        keys.session_tag("as", ""),
    }
    assert len(tags) == 4
    names = keys.session_keys(keys.session_tag("a", "s"))
    assert len(set(names)) == 3
    assert {hash_tag(name) for name in names} == {keys.session_tag("a", "s")}


# --- what was called wrong, and decisions ------------------------------------------------------------------------------------------


def test_case_and_white_space_make_no_other_wording_and_anything_else_does() -> None:
    assert keys.text_digest("How  do I\nSTRASSE?") == keys.text_digest(" how do i straße? ")
    assert len({keys.text_digest(text) for text in ("a b", "ab", "b a", "", "a b?")}) == 5
    assert HEX.match(keys.text_digest("a"))


def test_all_that_one_look_up_reads_lies_in_the_rooms_slot_under_names_of_its_own() -> None:
    where = Place("0a" * 16, "ff" * 16, "cc" * 16, "t")
    found = keys.look_up_keys(where, "a text")
    names = [found.exact, found.context, found.condemned, found.unequal]
    assert [hash_tag(name) for name in names if name] == [where.room] * 4
    assert len(set(names)) == 4


def test_what_is_not_asked_for_has_no_key() -> None:
    found = keys.look_up_keys(Place("0a", "ff", None, "t"), None)
    assert (found.context, found.unequal) == (None, None)


def test_a_tenants_decisions_share_a_slot_and_no_other_tenants_keys() -> None:
    def names(tenant: str) -> set[str]:
        at = keys.decision_keys(tenant)
        return {at.judged, at.other, at.ids, at.votes, at.rooms}

    assert {hash_tag(name) for name in names("a")} == {"a"}
    assert len(names("a") | names("b")) == 10


# --- memories told with the last turn -----------------------------------------------------------------------------------------------


def told(memories: str | None) -> Place:
    return keys.place_of(
        canonical_chat(chat_body(user("Hi"), assistant("Hello"), user("Which pet?"))),
        tenant="t",
        namespace="",
        upstream=("u",),
        family="chat",
        memories=memories,
    )


def test_memories_are_part_of_the_turn_and_not_of_the_conversation_that_goes_on_without_them() -> None:
    without, some, others = told(None), told("0a"), told("0b")
    assert len({each.fingerprint for each in (without, some, others)}) == 3
    assert len({each.turn_hash for each in (without, some, others)}) == 3
    assert len({(each.room, each.prefix_hash) for each in (without, some, others)}) == 1
