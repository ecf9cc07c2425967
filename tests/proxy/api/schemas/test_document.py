"""The OpenAPI document tells of every route what it takes and answers, and of none that is not there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from pydantic import SecretStr
from starlette.routing import Route

from proxy.api import sessions, tasks
from proxy.api.schemas import routes as known
from proxy.api.schemas.document import models_of
from proxy.app import create_app
from proxy.settings import Settings

NO_BODY = {
    ("POST", "/v1/caches/{cache_id}/flush"),
    ("POST", "/v1/long-term-memory/compact"),
}
"""Operations that change something and take no body."""
ANY_METHOD = {"/v1/{path}"}
"""What is passed through: the provider's to describe."""


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    folder = tmp_path_factory.mktemp("data")
    settings = Settings.model_validate(
        {"data_dir": folder, "embedder": {"source": "hashing"}, "secret": SecretStr("s")}
    )
    return create_app(settings, redis_url="redis://127.0.0.1:1", environ={})


@pytest.fixture(scope="module")
def document(app: FastAPI) -> dict[str, Any]:
    return app.openapi()


def operations(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(method.upper(), path): told for path, all_ in document["paths"].items() for method, told in all_.items()}


def test_every_route_is_there_the_raw_ones_too(app: FastAPI, document: dict[str, Any]) -> None:
    served = {
        route.path.replace(":path}", "}")
        for route in app.router.routes
        if isinstance(route, Route | APIRoute) and getattr(route, "include_in_schema", True)
    }
    assert served - ANY_METHOD == set(document["paths"])


def test_every_operation_that_takes_a_body_says_which(document: dict[str, Any]) -> None:
    without = {
        key
        for key, told in operations(document).items()
        if key[0] in ("POST", "PUT", "PATCH") and "requestBody" not in told
    }
    assert without == NO_BODY


def test_every_operation_tells_its_answers_and_its_errors(document: dict[str, Any]) -> None:
    for key, told in operations(document).items():
        assert "default" in told["responses"], key
        assert any(status.startswith(("2", "3")) for status in told["responses"]), key
        assert "422" not in told["responses"], key
        assert told.get("security") or not key[1].startswith(("/admin", "/mcp")), key


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    referred = set(re.findall(r"'#/components/schemas/([^']+)'", str(document)))
    assert referred <= set(document["components"]["schemas"])


def test_every_operation_has_an_id_of_its_own(document: dict[str, Any]) -> None:
    ids = [told["operationId"] for told in operations(document).values()]
    assert len(set(ids)) == len(ids)


def test_what_is_written_down_by_hand_is_about_operations_that_exist(document: dict[str, Any]) -> None:
    by_hand = {
        *known.BODIES,
        *known.ANSWERS,
        *known.OTHER_KINDS,
        *known.STATUSES,
        *known.OPTIONAL_BODIES,
        *known.TAKES_LINES,
    }
    assert by_hand <= set(operations(document))
    assert {f"/v1{path}".replace("/v1/v1", "/v1") for path in known.CACHED} <= set(document["paths"])


def test_the_models_a_handler_names_are_its_body() -> None:
    assert models_of(sessions.append_messages) == (sessions.NewMessages,)
    assert models_of(tasks.submit) == (tasks.NewTasks, tasks.NewTask)
    assert models_of(tasks.read_queue) == ()


def test_a_body_is_read_nowhere_that_the_document_does_not_know(app: FastAPI, document: dict[str, Any]) -> None:
    readers = re.compile(r"\b(body_of|json_body|read_body|_body)\(")
    for route in app.router.routes:
        if isinstance(route, APIRoute) and route.include_in_schema:
            source = Path(route.endpoint.__code__.co_filename).read_text().splitlines()
            lines = sorted({line for *_, line in route.endpoint.__code__.co_lines() if line})
            if readers.search("\n".join(source[lines[0] - 1 : lines[-1]])):
                for method in route.methods - {"HEAD"}:
                    assert "requestBody" in document["paths"][route.path_format][method.lower()], route.path
