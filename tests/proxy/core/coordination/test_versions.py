"""If-Match and If-None-Match: what they mean, and what is no version."""

from __future__ import annotations

import pytest

from proxy.core.coordination.versions import Conditions, Versions, etag, if_match, if_none_match
from proxy.errors import RequestError


@pytest.mark.parametrize(
    ("header", "wire"),
    [
        ('"7"', ",7,"),
        (' "7" , "3" ', ",3,7,"),
        ('"7",,"8"', ",7,8,"),
        ("*", "*"),
        ('"abc"', ",,"),
        ('"007"', ",,"),
        ('"0"', ",,"),
        ('""', ",,"),
    ],
)
def test_versions_are_read(header: str, wire: str) -> None:
    for parsed in (if_match(header), if_none_match(header)):
        assert parsed is not None
        assert parsed.wire == wire


def test_no_header_asks_for_nothing() -> None:
    assert if_match(None) is None
    assert if_none_match(None) is None


@pytest.mark.parametrize(
    "header", ["7", '"7', "'7'", "", " , ", '"7" "8"', '*, "7"', "W/7", '"\n"', ",".join(['"7"'] * 101)]
)
def test_what_is_no_entity_tag_is_named(header: str) -> None:
    for read, name in ((if_match, "If-Match"), (if_none_match, "If-None-Match")):
        with pytest.raises(RequestError) as caught:
            read(header)
        assert (caught.value.status, caught.value.code, caught.value.param) == (400, "invalid_etag", name)


def test_a_weak_tag_counts_only_where_the_rfc_lets_it() -> None:
    assert if_none_match('W/"7"') == Versions(numbers=frozenset({7}))
    with pytest.raises(RequestError, match="leave the W/ out"):
        if_match('W/"7"')


@pytest.mark.parametrize(
    ("match", "none_match", "version", "holds"),
    [
        (None, None, None, True),
        ('"7"', None, 7, True),
        ('"7"', None, 77, False),
        ('"77"', None, 7, False),
        ('"6", "7"', None, 7, True),
        ('"7"', None, None, False),
        ("*", None, 7, True),
        ("*", None, None, False),
        (None, "*", None, True),
        (None, "*", 7, False),
        (None, '"7"', 7, False),
        (None, '"7"', 8, True),
        ('"7"', '"7"', 7, False),
    ],
)
def test_conditions_hold_as_the_rfc_says(
    match: str | None, none_match: str | None, version: int | None, holds: bool
) -> None:
    assert Conditions(if_match(match), if_none_match(none_match)).hold(version) is holds


def test_a_version_as_an_entity_tag_is_read_back() -> None:
    assert if_match(etag(12)) == Versions(numbers=frozenset({12}))
