"""One HTTP request to a running Deja, and what a person is told when it fails."""

from __future__ import annotations

import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import orjson

TIMEOUT_S = 60.0
"""A what-if over everything recorded reads some 15 MB from Redis."""


class AskingError(Exception):
    """The running Deja gave no answer, or another than was asked for; the message says what to do."""


def get(root: str, path: str, *, api_key: str | None, **parameters: object) -> dict[str, Any]:
    """GET a path below a Deja's root; parameters that are None are left out. Raises AskingError."""
    given = {name: str(value) for name, value in parameters.items() if value is not None}
    query = f"?{urllib.parse.urlencode(given)}" if given else ""
    return _send(urllib.request.Request(_url(root, path) + query, headers=_headers(api_key)))  # noqa: S310  checked there


def post(
    root: str, path: str, body: Mapping[str, Any], *, api_key: str | None, headers: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """POST a JSON object to a path below a Deja's root. Raises AskingError."""
    return send_bytes(root, path, orjson.dumps(body), api_key=api_key, headers=headers)


def send_bytes(
    root: str, path: str, body: bytes, *, api_key: str | None, headers: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """POST bytes to a path below a Deja's root. Raises AskingError."""
    sent = {**_headers(api_key), "Content-Type": "application/json", **(headers or {})}
    return _send(urllib.request.Request(_url(root, path), data=body, headers=sent, method="POST"))  # noqa: S310


def lines(root: str, path: str, *, api_key: str | None) -> Iterator[bytes]:
    """GET a path that answers with lines; each as it comes, its end among it. Raises AskingError."""
    request = urllib.request.Request(_url(root, path), headers=_headers(api_key))  # noqa: S310
    with _answered(request) as answer:
        yield from answer


def send(method: str, root: str, path: str, body: Mapping[str, Any] | None, *, api_key: str | None) -> dict[str, Any]:
    """Send a JSON object, or nothing, to a path below a Deja's root; {} where it answers nothing. Raises AskingError."""
    headers = {**_headers(api_key), "Content-Type": "application/json"}
    data = None if body is None else orjson.dumps(body)
    return _send(urllib.request.Request(_url(root, path), data=data, headers=headers, method=method))  # noqa: S310


def root_of(url: str) -> str:
    """A Deja's root, given it or the base URL of clients. Raises AskingError."""
    root = url.rstrip("/").removesuffix("/v1")
    if not root.startswith(("http://", "https://")):
        raise AskingError(f"--url must begin with http:// or https://, and {root!r} does not.")
    return root


def _url(root: str, path: str) -> str:
    return root_of(root) + (path if path.startswith("/") else f"/v1/{path}")


def _headers(api_key: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {api_key}"} if api_key else {}


def _send(request: urllib.request.Request) -> dict[str, Any]:
    with _answered(request) as answer:
        body = answer.read()
        return _object(body) if body else {}


@contextmanager
def _answered(request: urllib.request.Request) -> Iterator[Any]:
    # A Deja is asked where it is: whatever proxy the environment names is for the way out of the house.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=TIMEOUT_S) as answer:
            yield answer
    except urllib.error.HTTPError as error:
        raise AskingError(_said(error)) from None
    except OSError as error:  # refused, unresolvable, timed out
        reason = getattr(error, "reason", error)
        raise AskingError(
            f"No Deja answers at {request.host}: {reason}. Start it with `deja serve`, or name another with --url."
        ) from None


def _said(error: urllib.error.HTTPError) -> str:
    try:
        return str(_object(error.read())["error"]["message"])
    except (AskingError, KeyError, TypeError):
        return f"Status {error.code} from something that is no Deja; correct --url."


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise AskingError("What answers there is no Deja; correct --url.")
    return found
