"""/v1/summary-views and /v1/tasks: memories summarised by user, namespace, session or type."""

from __future__ import annotations

import secrets
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field, ValidationError

from proxy.api.deps import Deps, Tenant
from proxy.api.memory import rendering
from proxy.api.memory.filters import Filters
from proxy.api.memory.route import MemoryRoute, Shape, body_of, credentials, json, refused
from proxy.api.memory.shapes import StrategyFilter
from proxy.core.memory import limits
from proxy.core.memory.records import Conditions, Match
from proxy.core.memory_server.views import GROUPS, View
from proxy.errors import RequestError

router = APIRouter(route_class=MemoryRoute, tags=["memory"])

FILTERS = (*GROUPS, "extraction_strategy", "topics", "event_date")
"""What a view can be narrowed by."""
MAX_PROMPT_CHARS = 8000
Word = Annotated[str | None, Query()]
Value = Annotated[str, Field(min_length=1, max_length=limits.MAX_NAME_CHARS)]


class ViewIn(Shape):
    """What is to be summarised."""

    name: str | None = Field(None, max_length=limits.MAX_NAME_CHARS)
    source: Literal["long_term", "working_memory"]
    group_by: list[str] = Field(default_factory=list, max_length=len(GROUPS))
    filters: dict[str, Any] = Field(default_factory=dict)
    time_window_days: int | None = Field(None, ge=1, le=100_000)
    continuous: bool | None = None
    prompt: str | None = Field(None, max_length=MAX_PROMPT_CHARS)
    model_name: str | None = Field(None, max_length=limits.MAX_NAME_CHARS)

    def view(self) -> View:
        """The view.

        Raises:
            RequestError: 400, Deja cannot summarise that.
        """
        if self.source != "long_term":
            raise refused(
                "SummaryView.source must be 'long_term' for now; 'working_memory' is not yet supported.", "source"
            )
        for told, known, what in ((self.group_by, GROUPS, "group_by"), (self.filters, FILTERS, "filter")):
            if wrong := sorted(set(told) - set(known)):
                raise refused(f"Unsupported {what} fields: {', '.join(wrong)}", what)
        return View(
            view_id=f"view_{secrets.token_hex(12)}",
            group_by=tuple(dict.fromkeys(self.group_by)),
            filters=self.filters,
            conditions=_conditions(self.filters),
            name=self.name,
            time_window_days=self.time_window_days,
            is_continuous=bool(self.continuous),
            prompt=self.prompt or None,
            model=self.model_name or None,
        )


class GroupIn(Shape):
    """Which partition is to be run."""

    group: dict[str, Value]


class RunIn(Shape):
    """A run of all partitions."""

    task_id: str | None = Field(None, min_length=1, max_length=limits.MAX_NAME_CHARS)


@router.get("/v1/summary-views")
async def list_summary_views(tenant: Tenant, deps: Deps) -> Response:
    """The tenant's views."""
    return json([rendering.view(each) for each in await deps.summary_views.views(tenant)])


@router.post("/v1/summary-views")
async def create_summary_view(request: Request, tenant: Tenant, deps: Deps) -> Response:
    """Keep a view; nothing is summarised yet."""
    view = (await body_of(request, ViewIn, deps)).view()
    return json(rendering.view(await deps.summary_views.create(tenant, view)))


@router.get("/v1/summary-views/{view_id}")
async def get_summary_view(view_id: str, tenant: Tenant, deps: Deps) -> Response:
    """One view."""
    return json(rendering.view(await deps.summary_views.view(tenant, view_id)))


@router.delete("/v1/summary-views/{view_id}")
async def delete_summary_view(view_id: str, tenant: Tenant, deps: Deps) -> Response:
    """Remove a view with its summaries; one that is not there is no error."""
    await deps.summary_views.delete(tenant, view_id)
    return json({"status": "ok"})


@router.post("/v1/summary-views/{view_id}/partitions/run")
async def run_summary_view_partition(view_id: str, request: Request, tenant: Tenant, deps: Deps) -> Response:
    """Summarise one partition now."""
    told = await body_of(request, GroupIn, deps)
    done = await deps.summary_views.run_partition(tenant, view_id, told.group, credentials(request, deps))
    return json(rendering.partition(done))


@router.get("/v1/summary-views/{view_id}/partitions")
async def list_summary_view_partitions(
    view_id: str,
    tenant: Tenant,
    deps: Deps,
    user_id: Word = None,
    namespace: Word = None,
    session_id: Word = None,
    memory_type: Word = None,
) -> Response:
    """What came of the partitions that were run."""
    told = {"user_id": user_id, "namespace": namespace, "session_id": session_id, "memory_type": memory_type}
    wanted = {name: value for name, value in told.items() if value is not None}
    found = await deps.summary_views.partitions(tenant, view_id, wanted)
    return json([rendering.partition(each) for each in found])


@router.post("/v1/summary-views/{view_id}/run")
async def run_summary_view(view_id: str, request: Request, tenant: Tenant, deps: Deps) -> Response:
    """Begin to summarise all partitions; the task to ask for how it goes."""
    told = await body_of(request, RunIn, deps, default={})
    task_id = told.task_id or f"task_{secrets.token_hex(12)}"
    task = await deps.summary_views.run(tenant, view_id, task_id, credentials(request, deps))
    return json(rendering.task(task))


@router.get("/v1/tasks/{task_id}")
async def get_task(task_id: str, tenant: Tenant, deps: Deps) -> Response:
    """How a run of a view stands."""
    task = await deps.summary_views.task(tenant, task_id)
    if task is None:
        raise RequestError(f"Task {task_id} not found", status=404, code="task_not_found", param="task_id")
    return json(rendering.task(task))


def _conditions(told: dict[str, Any]) -> Conditions:
    """What a view's filters mean: one value stands for itself, a list for any of its values, an object for a search's filter."""
    shaped: dict[str, Any] = {
        name: value if isinstance(value, dict) else {"any" if isinstance(value, list) else "eq": value}
        for name, value in told.items()
    }
    strategy = shaped.pop("extraction_strategy", None)
    try:
        conditions = Filters.model_validate(shaped).conditions()
        is_met = strategy is None or StrategyFilter.model_validate(strategy).is_met
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise refused(f"filters.{field} cannot be used: {first['msg']}", "filters") from None
    return conditions if is_met else Conditions(memory_id=Match(one_of=()))
