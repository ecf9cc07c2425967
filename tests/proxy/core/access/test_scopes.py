from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.access.scopes import DATA, KeyScope, allows, checked_scopes, is_open, wanted_by
from proxy.errors import RequestError


@pytest.mark.parametrize("path", ["/health", "/ready", "/metrics", "/openapi.json", "/v1/health", "/dashboard/a.css"])
def test_paths_that_tell_nothing_of_any_tenant_are_open(path: str) -> None:
    assert is_open(path)


@pytest.mark.parametrize(
    "path",
    ["/", "", "//health", "/healthy", "/Health", "/v1/health/", "/v1", "/v1/models", "/admin", "/mcp", "/x/health", "/v1/./health"],
)  # fmt: skip
def test_every_other_path_asks_for_a_key_however_it_is_written(path: str) -> None:
    assert not is_open(path)


@pytest.mark.parametrize(
    ("path", "scope"),
    [
        ("/v1/chat/completions", KeyScope.CHAT),
        ("/v1/whatever/a/provider/has", KeyScope.CHAT),
        ("/v1", KeyScope.CHAT),
        ("/v1/cache/explain/req_1", KeyScope.CACHE),
        ("/v1/caches/faq/entries", KeyScope.CACHE),
        ("/v1/sessions", KeyScope.SESSIONS),
        ("/v1/users/ann", KeyScope.SESSIONS),
        ("/v1/queues/q/tasks/claim", KeyScope.AGENTS),
        ("/v1/long-term-memory/search", KeyScope.MEMORY),
        ("/admin/keys", KeyScope.ADMIN),
        ("/admin", KeyScope.ADMIN),
        ("/mcp", None),
        ("//admin/keys", None),
    ],
)
def test_each_path_asks_for_its_scope(path: str, scope: KeyScope | None) -> None:
    assert wanted_by(path) is scope


def test_administration_opens_no_data_and_data_no_administration() -> None:
    admin = frozenset({KeyScope.ADMIN})
    assert allows(admin, KeyScope.ADMIN)
    assert not any(allows(admin, scope) for scope in (*DATA, None))
    assert all(allows(DATA, scope) for scope in (*DATA, None))
    assert not allows(DATA, KeyScope.ADMIN)


@pytest.mark.parametrize("names", [[], ["admin", "chat"], ["everything"], ["Chat"]])
def test_scopes_that_make_no_sense_are_refused(names: list[str]) -> None:
    with pytest.raises(RequestError) as caught:
        checked_scopes(names)
    assert caught.value.param == "scopes"


@given(st.text())
def test_no_path_outside_of_admin_is_opened_by_an_admins_key(rest: str) -> None:
    path = f"/{rest}"
    is_admins = path == "/admin" or path.startswith("/admin/")
    assert allows(frozenset({KeyScope.ADMIN}), wanted_by(path)) is is_admins
