"""Who may call /mcp: not a web page that speaks for whoever looks at it."""

from __future__ import annotations

import pytest

from proxy.errors import RequestError
from proxy.mcp.endpoint import Allowed, check_origin


def refusal(host: str | None, origin: str | None, *, has_keys: bool, allowed: Allowed | None = None) -> str | None:
    """Status and code of the refusal, None for none."""
    headers = [(b"host", host), (b"origin", origin)]
    scope = {"headers": [(name, value.encode()) for name, value in headers if value is not None]}
    try:
        check_origin(scope, allowed or Allowed(), has_keys=has_keys)
    except RequestError as error:
        return f"{error.status} {error.code}"
    return None


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8080", "LOCALHOST", "127.0.0.1:8080", "[::1]:8080", "10.0.0.5:8080", "192.168.1.2"]
)
def test_without_keys_an_address_or_localhost_may_be_asked_for(host: str) -> None:
    assert refusal(host, None, has_keys=False) is None


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example", "", None, "[::1", "a@b"],
)
def test_without_keys_a_name_that_can_be_rebound_is_refused(host: str | None) -> None:
    assert refusal(host, None, has_keys=False) == "403 host_not_allowed"
    assert refusal(host, None, has_keys=True) is None


@pytest.mark.parametrize("has_keys", [True, False])
@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        (None, None),
        ("http://localhost:3000", None),
        ("https://127.0.0.1", None),
        ("http://[::1]:8080", None),
        ("http://127.8.9.1", None),
        ("http://evil.example", "403 origin_not_allowed"),
        ("http://localhost.evil.example", "403 origin_not_allowed"),
        ("http://10.0.0.5", "403 origin_not_allowed"),
        ("http://[::1", "403 origin_not_allowed"),
        ("null", "403 origin_not_allowed"),
        ("", "403 origin_not_allowed"),
        ("localhost", "403 origin_not_allowed"),
    ],
)
def test_a_page_of_another_machine_is_refused_with_and_without_keys(
    origin: str | None, expected: str | None, has_keys: bool
) -> None:
    assert refusal("localhost:8080", origin, has_keys=has_keys) == expected


ALLOWED = Allowed(frozenset({"deja.internal", "deja.example:8443"}), frozenset({"https://chat.example"}))


@pytest.mark.parametrize(
    ("host", "origin", "expected"),
    [
        ("deja.internal", None, None),
        ("Deja.Internal:9000", None, None),
        ("deja.example:8443", None, None),
        ("deja.example:80", None, "403 host_not_allowed"),
        ("deja.example", None, "403 host_not_allowed"),
        ("x.deja.internal", None, "403 host_not_allowed"),
        ("", None, "403 host_not_allowed"),
        ("deja.internal", "https://chat.example", None),
        ("deja.internal", "HTTPS://Chat.Example", None),
        ("deja.internal", "http://chat.example", "403 origin_not_allowed"),
        ("deja.internal", "https://chat.example:444", "403 origin_not_allowed"),
        ("deja.internal", "http://deja.internal", "403 origin_not_allowed"),
    ],
)
def test_what_the_settings_allow_may_come_and_nothing_near_it(
    host: str, origin: str | None, expected: str | None
) -> None:
    assert refusal(host, origin, has_keys=False, allowed=ALLOWED) == expected
