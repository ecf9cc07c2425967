"""Versions in If-Match and If-None-Match (RFC 9110, section 13.1): read, compared. An entity tag here is a version in quotes."""

from __future__ import annotations

import re
from dataclasses import dataclass

from proxy.errors import RequestError

_TAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"\Z')
_VERSION = re.compile(r"[1-9]\d{0,15}\Z")
MAX_TAGS = 100


@dataclass(frozen=True, slots=True)
class Versions:
    """The versions a header names.

    Attributes:
        is_any: it is `*`: any version, as long as there is one.
        numbers: those it lists. A tag that is no version of ours is well-formed, and equals none.
    """

    is_any: bool = False
    numbers: frozenset[int] = frozenset()

    def has(self, version: int | None) -> bool:
        """Whether the version, None for a thing that is not there, is among them."""
        return version is not None and (self.is_any or version in self.numbers)

    @property
    def wire(self) -> str:
        """As the Lua scripts take it: `*`, or `,3,7,`."""
        return "*" if self.is_any else f",{','.join(map(str, sorted(self.numbers)))},"


@dataclass(frozen=True, slots=True)
class Conditions:
    """What has to hold for a write; None for what was not asked."""

    match: Versions | None = None
    none_match: Versions | None = None

    def hold(self, version: int | None) -> bool:
        """Whether a thing of this version, None if it is not there, may be written."""
        if self.match is not None and not self.match.has(version):
            return False
        return self.none_match is None or not self.none_match.has(version)


class VersionConflictError(RequestError):
    """The thing is of another version than the caller expects.

    Args:
        version: the one it has, None if it is not there.
    """

    def __init__(self, version: int | None) -> None:
        now = "It is not there" if version is None else f"Its version is {version} now"
        super().__init__(
            f"{now}, which If-Match or If-None-Match rules out; nothing was written. Read it again and decide anew.",
            status=412,
            code="version_conflict",
        )
        self.version = version


def etag(version: int) -> str:
    """A version as an entity tag."""
    return f'"{version}"'


def if_match(header: str | None) -> Versions | None:
    """The header If-Match.

    Raises:
        RequestError: 400, it is malformed, or names a weak tag, which RFC 9110 never lets match here.
    """
    return None if header is None else _read(header, "If-Match", allow_weak=False)


def if_none_match(header: str | None) -> Versions | None:
    """The header If-None-Match.

    Raises:
        RequestError: 400, it is malformed.
    """
    return None if header is None else _read(header, "If-None-Match", allow_weak=True)


def _read(header: str, name: str, *, allow_weak: bool) -> Versions:
    text = header.strip()
    if text == "*":
        return Versions(is_any=True)
    tags = [tag.strip() for tag in text.split(",") if tag.strip()]
    if not 1 <= len(tags) <= MAX_TAGS:
        raise _malformed(name, f"give `*`, or 1 to {MAX_TAGS} versions")
    numbers = set()
    for tag in tags:
        found = _TAG.match(tag)
        if found is None:
            raise _malformed(name, "write versions in double quotes")
        if found[1] and not allow_weak:
            raise _malformed(name, "a weak tag matches nothing here; leave the W/ out")
        if _VERSION.match(found[2]):
            numbers.add(int(found[2]))
    return Versions(numbers=frozenset(numbers))


def _malformed(name: str, mend: str) -> RequestError:
    return RequestError(
        f'`{name}` cannot be used: {mend}, such as {name}: "7" or {name}: "7", "8".', param=name, code="invalid_etag"
    )
