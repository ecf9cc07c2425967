"""What callers may call their sessions, agents, queues, channels, tags: safe in keys, URLs, headers and logs."""

from __future__ import annotations

import re

from proxy.errors import RequestError

MAX_CHARS = 128
MEND = f"use 1 to {MAX_CHARS} letters, digits or _ . : @ / - and begin with a letter or digit"
_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_.:@/-]{{0,{MAX_CHARS - 1}}}\Z")


def is_name(value: object) -> bool:
    """Whether a value may be a name. No braces, which are Redis Cluster's hash tag, and no white space."""
    return isinstance(value, str) and _NAME.match(value) is not None


def checked(value: object, param: str) -> str:
    """The name, if it is one.

    Raises:
        RequestError: 400 naming `param`.
    """
    if not is_name(value):
        raise RequestError(f"`{param}` cannot be used: {MEND}.", param=param, code="invalid_name")
    return str(value)
