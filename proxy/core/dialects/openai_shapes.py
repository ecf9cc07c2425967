"""What the dialects of OpenAI have in common: the shape of errors, flags, who the user is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from proxy.core import sse
from proxy.core.dialects.base import Fault
from proxy.core.sessions import user_of


class OpenAIShapes:
    """To be inherited by a dialect."""

    __slots__ = ()

    def user_of(self, body: Mapping[str, Any]) -> str | None:
        """`user`, else `safety_identifier`."""
        return user_of(body)

    def whole(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Without the fields that ask for a stream."""
        return {name: value for name, value in body.items() if name not in ("stream", "stream_options")}

    def error_body(self, fault: Fault) -> bytes:
        """`{"error": {message, type, param, code}}`."""
        return orjson.dumps(error_object(fault))

    def error_event(self, fault: Fault) -> bytes:
        """The same as the data of an event, which OpenAI's SDKs raise."""
        return sse.event(orjson.dumps(error_object(fault)))


def error_object(fault: Fault) -> dict[str, Any]:
    """One error, as OpenAI words it."""
    return {"error": {"message": fault.message, "type": fault.kind, "param": fault.param, "code": fault.code}}
