from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy.upstream.headers import CREDENTIALS, FRAMING, HOP_BY_HOP, OURS, end_to_end

NAMES = st.one_of(
    st.sampled_from(sorted(HOP_BY_HOP | FRAMING | CREDENTIALS)),
    st.sampled_from([b"X-Deja-Mode", b"x-deja-", b"Content-Type", b"OpenAI-Beta", b"x-a", b"X-A"]),
)
HEADERS = st.lists(st.tuples(NAMES, st.sampled_from([b"x-a", b"1", b"close, X-A", b"openai-beta,"])))


@given(HEADERS)
def test_nothing_of_the_hop_or_of_deja_is_left_and_the_rest_keeps_its_order(headers: list[tuple[bytes, bytes]]) -> None:
    left = end_to_end(headers)
    assert not {name for name, _ in left} & (HOP_BY_HOP | FRAMING)
    assert not any(name.startswith(OURS) for name, _ in left)
    wanted = iter([(name.lower(), value) for name, value in headers])
    assert all(pair in wanted for pair in left), "a subsequence of what came"


@given(HEADERS)
def test_taking_out_twice_changes_nothing(headers: list[tuple[bytes, bytes]]) -> None:
    once = end_to_end(headers)
    assert end_to_end(once) == once


def test_what_connection_names_is_of_the_hop_too() -> None:
    headers = [(b"x-a", b"1"), (b"Connection", b"keep-alive, X-A"), (b"x-b", b"2")]
    assert end_to_end(headers) == ((b"x-b", b"2"),)
