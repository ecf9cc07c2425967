"""Routes whose handlers are called without FastAPI's walk through their parameters.

FastAPI works out a handler's arguments anew for each request: 50 µs, a fifth of what reading an agent's state takes in all. Where they
are nothing but the request, who asks, the services and parts of the path, and the handler makes its own Response, what goes where is
known before the first request. Any other handler is left to FastAPI; signatures, errors and OpenAPI are the same either way.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from typing import Any, get_type_hints

from fastapi import Request, Response
from fastapi.routing import APIRoute

from proxy.api.deps import Deps, Tenant, services, tenant


class DirectRoute(APIRoute):
    """A route as `APIRouter(route_class=…)` takes it."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Call the handler straight away where that is possible."""
        sources = _sources(self)
        if sources is None:
            return super().get_route_handler()
        endpoint, fixed = self.endpoint, tuple(sources.items())

        async def handle(request: Request) -> Response:
            found: Response = await endpoint(**request.path_params, **{name: source(request) for name, source in fixed})
            return found

        return handle


def _sources(route: APIRoute) -> dict[str, Callable[[Request], Any]] | None:
    """Where each parameter that is no part of the path comes from; None where FastAPI has to see to it."""
    hints = get_type_hints(route.endpoint, include_extras=True)
    makes_response = isinstance(made := hints.pop("return", None), type) and issubclass(made, Response)
    if not makes_response or route.dependencies or not inspect.iscoroutinefunction(route.endpoint):
        return None
    sources: dict[str, Callable[[Request], Any]] = {}
    for name, hint in hints.items():
        if hint is Request:
            sources[name] = _itself
        elif hint == Tenant:
            sources[name] = tenant
        elif hint == Deps:
            sources[name] = services
        elif hint is not str or name not in route.param_convertors:
            return None
    return sources


def _itself(request: Request) -> Request:
    return request
