"""The dialects of model APIs whose answers Deja caches: request -> canonical form, answer <-> bytes, the shape of errors. Pure."""

from __future__ import annotations

from proxy.core.dialects.base import Dialect
from proxy.core.dialects.chat import CHAT

DIALECTS: tuple[Dialect, ...] = (CHAT,)
"""All of them; each has a route."""
