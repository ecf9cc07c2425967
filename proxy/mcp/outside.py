"""Requests to routes of a Deja that runs elsewhere, over HTTP: what `deja mcp` makes of its tools."""

from __future__ import annotations

from typing import Any

import httpx
import orjson

from proxy.errors import AwayError
from proxy.mcp.calls import Answer, Call

TIMEOUT_S = 60.0
"""For an answer: tools wait 20 s at most, and clients give one up after about a minute."""
CONNECT_S = 5.0


class Outside:
    """Calls routes of a running Deja; `async with` it.

    Args:
        root: its address, http or https, without /v1.
        headers: who calls, and where it is at work; on every request.
        transport: other than the network, for tests.
    """

    def __init__(self, root: str, headers: dict[str, str], transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._at = httpx.URL(root).netloc.decode()  # without a password
        self._http = httpx.AsyncClient(
            base_url=root,
            headers=[(name.encode(), value.encode()) for name, value in headers.items()],
            timeout=httpx.Timeout(TIMEOUT_S, connect=CONNECT_S),
            transport=transport,
            trust_env=False,  # a Deja is asked where it is: proxies are for the way out of the house
        )

    async def __aenter__(self) -> Outside:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def __call__(self, call: Call, /) -> Answer:
        """What the route says.

        Raises:
            AwayError: it says nothing, or what answers there is no Deja.
        """
        body = None if call.body is None else orjson.dumps(call.body)
        headers = {**call.headers, **({} if body is None else {"content-type": "application/json"})}
        try:
            answer = await self._http.request(
                call.method, call.path, params=tuple(call.parameters), content=body, headers=headers
            )
        except httpx.ReadTimeout:
            raise AwayError(
                f"The Deja at {self._at} did not answer within {TIMEOUT_S:g} s. What was asked may have been done all the same."
            ) from None
        except httpx.TransportError as error:
            raise AwayError(
                f"No Deja answers at {self._at} ({type(error).__name__}). Start it with `deja serve`, or name another with --url."
            ) from None
        return Answer(answer.status_code, self._value(answer))

    def _value(self, answer: httpx.Response) -> Any:
        if not answer.content:
            return None
        try:
            return orjson.loads(answer.content)
        except orjson.JSONDecodeError:
            raise AwayError(
                f"What answers at {self._at} is no Deja (status {answer.status_code}, no JSON); correct --url."
            ) from None
