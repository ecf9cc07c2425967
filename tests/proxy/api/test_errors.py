from __future__ import annotations

import inspect

import orjson
import pytest

from proxy import errors
from proxy.api.errors import INTERNAL, body_at, body_of, status_of
from proxy.errors import (
    AwayError,
    ConfigError,
    DejaError,
    EmbeddingError,
    IndexMissingError,
    RequestError,
    StoreError,
    StoreFullError,
    StoreLoadingError,
    StoreUnavailableError,
    UpstreamBrokenError,
    UpstreamError,
    UpstreamTimeoutError,
)

TABLE = [
    (RequestError("m"), 400, "invalid_request_error", "invalid_request"),
    (RequestError("m", status=413, code="request_too_large"), 413, "invalid_request_error", "request_too_large"),
    (RequestError("m", status=401, kind="authentication_error"), 401, "authentication_error", "invalid_request"),
    (UpstreamError("m"), 502, "upstream_error", "upstream_unreachable"),
    (UpstreamBrokenError("m"), 502, "upstream_error", "upstream_broken"),
    (UpstreamTimeoutError("m"), 504, "upstream_error", "upstream_timeout"),
    (StoreError("m"), 503, "store_error", "redis_unavailable"),
    (StoreUnavailableError("m"), 503, "store_error", "redis_unavailable"),
    (StoreLoadingError("m"), 503, "store_error", "redis_unavailable"),
    (IndexMissingError("m"), 503, "store_error", "redis_unavailable"),
    (StoreFullError("m"), 503, "store_error", "store_full"),
    (ConfigError("m"), 500, "internal_error", "internal_error"),
    (EmbeddingError("m"), 500, "internal_error", "internal_error"),
    (AwayError("m"), 500, "internal_error", "internal_error"),
    (DejaError("m"), 500, "internal_error", "internal_error"),
]


@pytest.mark.parametrize(
    ("error", "status", "kind", "code"), TABLE, ids=[type(row[0]).__name__ + str(row[1]) for row in TABLE]
)
def test_every_error_has_a_status_and_openais_shape(error: DejaError, status: int, kind: str, code: str) -> None:
    assert status_of(error) == status
    shown = orjson.loads(body_of(error))
    assert shown.keys() == {"error"}
    assert shown["error"].keys() == {"message", "type", "param", "code"}
    assert (shown["error"]["type"], shown["error"]["code"]) == (kind, code)


def test_every_exception_of_ours_is_in_the_table() -> None:
    ours = {value for _, value in inspect.getmembers(errors, inspect.isclass) if issubclass(value, DejaError)}
    assert ours == {type(row[0]) for row in TABLE}


def test_a_request_error_names_its_field() -> None:
    shown = orjson.loads(body_of(RequestError("Mend it.", param="messages[0].role")))["error"]
    assert (shown["message"], shown["param"]) == ("Mend it.", "messages[0].role")


def test_an_internal_error_tells_nothing_of_what_happened() -> None:
    assert body_of(EmbeddingError("what is Bob's diagnosis")) == INTERNAL
    assert b"X-Deja-Mode: off" in INTERNAL


def test_a_body_is_utf8_json() -> None:
    assert orjson.loads(body_of(RequestError("Größe")))["error"]["message"] == "Größe"


def test_anthropics_clients_read_errors_in_anthropics_shape() -> None:
    error = UpstreamTimeoutError("Too slow.")
    for path in ("/v1/messages", "/v1/messages/count_tokens"):
        shown = orjson.loads(body_at(path, error))
        assert (shown["type"], shown["error"]["type"]) == ("error", "timeout_error")
    assert body_at("/v1/chat/completions", error) == body_of(error)
