"""GET /dashboard: the page and its files, read once. It holds no data; what it shows it asks for with the caller's own key."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable

from fastapi import APIRouter, Request, Response

from proxy.errors import RequestError

router = APIRouter()

KINDS = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
}
"""Ending of a file -> its media type; what ends otherwise is not served."""
HEADERS = {
    # Nothing from elsewhere, nothing inline, nothing made of strings: prompts that are shown are other people's words.
    "content-security-policy": (
        "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-cache",  # asked each time, answered with 304: an upgraded Deja shows its own page at once
}


@dataclass(frozen=True, slots=True)
class _File:
    """A file as it is sent: packed, and under the hash of what is in it."""

    packed: bytes
    plain: bytes
    kind: str
    etag: str


@router.get("/dashboard", include_in_schema=False)
@router.get("/dashboard/{path:path}", include_in_schema=False)
async def read_file(request: Request, path: str = "") -> Response:
    """The page, or one of its files; 404 for any other."""
    found = files().get(path or "index.html")
    if found is None:
        raise RequestError("The dashboard has no such file; its page is at /dashboard/.", status=404, code="not_found")
    if not path and not request.url.path.endswith("/"):  # the page names its files relative to itself
        return Response(status_code=308, headers={"location": "dashboard/"})
    headers = {**HEADERS, "etag": found.etag, "vary": "accept-encoding"}
    if request.headers.get("if-none-match") == found.etag:
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(found.packed, headers={**headers, "content-encoding": "gzip"}, media_type=found.kind)
    return Response(found.plain, headers=headers, media_type=found.kind)


@cache
def files() -> dict[str, _File]:
    """Path below /dashboard/ -> file; read when first asked for, some 200 KB."""
    return dict(_read(resources.files("proxy.dashboard"), ""))


def _read(folder: Traversable, above: str) -> list[tuple[str, _File]]:
    found: list[tuple[str, _File]] = []
    for each in folder.iterdir():
        kind = KINDS.get(each.name.rpartition(".")[2])
        if each.is_dir():
            found += _read(each, f"{above}{each.name}/")
        elif kind is not None:
            plain = each.read_bytes()
            etag = f'"{hashlib.sha256(plain).hexdigest()[:16]}"'
            found.append((above + each.name, _File(gzip.compress(plain, mtime=0), plain, kind, etag)))
    return found
