from __future__ import annotations

from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from proxy.api import budget, errors
from proxy.api.identity import Identity
from proxy.core.budget import Cause, Standing
from proxy.core.decision import Scope
from proxy.core.evidence import Report
from proxy.core.sequences import Interval, JudgeError
from proxy.core.tally import Tally
from proxy.errors import RequestError, StoreUnavailableError

REPORT = Report(
    max_wrong_hit_rate=0.01,
    calibrated_level=0.98,
    standing=Standing(0.99, Cause.EVIDENCE),
    tally=Tally(),
    error=JudgeError(),
    wrong_hit_rate=(None, Interval(0.0, 1.0)),
    judge="agreement",
    controls=0,
    is_steered=False,
)


class Services:
    """What the route needs of the application."""

    def __init__(self) -> None:
        self.identity = Identity(b"secret", [b"key"])
        self.asked: list[Scope] = []
        self.failure: Exception | None = None

    async def error_budget(self, scope: Scope) -> Report:
        self.asked.append(scope)
        if self.failure:
            raise self.failure
        return REPORT


@pytest.fixture
def services() -> Services:
    return Services()


async def get(services: Services, query: str = "", *, key: str = "key") -> httpx.Response:
    app = FastAPI()
    app.include_router(budget.router)
    errors.install(app)
    app.state.services = services
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://deja") as client:
        return await client.get(f"/v1/cache/budget{query}", headers={"Authorization": f"Bearer {key}"})


async def test_a_tenant_is_told_of_its_own_namespace(services: Services) -> None:
    told: dict[str, Any] = (await get(services, "?namespace=shop")).json()
    assert (told["object"], told["namespace"], told["state"], told["level"]) == (
        "cache.budget",
        "shop",
        "evidence",
        0.99,
    )
    assert told["in_words"]
    tenant = services.identity.tenant({"headers": [(b"authorization", b"Bearer key")]})
    assert services.asked == [Scope(tenant, "shop")]


async def test_without_a_name_it_is_the_namespace_without_one(services: Services) -> None:
    assert (await get(services)).json()["namespace"] == ""
    assert services.asked[0].namespace == ""


async def test_who_has_no_key_is_told_nothing(services: Services) -> None:
    assert (await get(services, key="other")).status_code == 401
    assert not services.asked


@pytest.mark.parametrize(
    ("failure", "status"),
    [(RequestError("Not calibrated.", status=409), 409), (StoreUnavailableError("away"), 503)],
    ids=["not calibrated", "without Redis"],
)
async def test_what_cannot_be_told_is_an_error_that_says_why(
    services: Services, failure: Exception, status: int
) -> None:
    services.failure = failure
    told = await get(services)
    assert told.status_code == status
    assert told.json()["error"]["message"]
