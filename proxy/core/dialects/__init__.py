"""The dialects of model APIs whose answers Deja caches: request -> canonical form, answer <-> bytes, the shape of errors. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from proxy.core.dialects.base import Dialect
from proxy.core.dialects.chat import CHAT
from proxy.core.dialects.completions import COMPLETIONS
from proxy.core.dialects.messages import MESSAGES
from proxy.core.dialects.responses import RESPONSES

DIALECTS: tuple[Dialect, ...] = (CHAT, COMPLETIONS, MESSAGES, RESPONSES)
"""All of them; each has a route."""
BY_FAMILY: Mapping[str, Dialect] = {dialect.family: dialect for dialect in DIALECTS}
BY_PATH: Mapping[str, Dialect] = {dialect.path: dialect for dialect in DIALECTS}
