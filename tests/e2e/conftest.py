"""One Deja process and one fake provider for all end-to-end tests; each test is a tenant of its own."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Iterator

import openai
import pytest

from tests.deja_process import DejaProcess, running_deja
from tests.fake_answers import saying
from tests.fake_upstream import Exchange, FakeUpstream


def numbered() -> Callable[[Exchange], object]:
    """Answers that are all different, so that a test sees which call an answer came from."""
    counter = itertools.count(1)

    async def behave(exchange: Exchange) -> None:
        await saying(f"Answer number {next(counter)} of the provider.")(exchange)

    return behave


@pytest.fixture(scope="session")
def provider() -> Iterator[FakeUpstream]:
    with FakeUpstream() as fake:
        yield fake


@pytest.fixture(scope="session")
def deja(provider: FakeUpstream) -> Iterator[DejaProcess]:
    with running_deja(DEJA_UPSTREAM__BASE_URL=provider.base_url) as process:
        yield process


@pytest.fixture
def upstream(provider: FakeUpstream) -> Iterator[FakeUpstream]:
    """The fake provider, fresh, with a different answer to every call."""
    provider.reset()
    provider.script(numbered())  # type: ignore[arg-type]
    yield provider
    provider.reset()


@pytest.fixture
def new_client(deja: DejaProcess) -> Iterator[Callable[..., openai.OpenAI]]:
    """Makes OpenAI clients, each a tenant of its own unless told which."""
    made: list[openai.OpenAI] = []

    def make(api_key: str | None = None) -> openai.OpenAI:
        client = openai.OpenAI(
            base_url=deja.base_url, api_key=api_key or f"sk-{uuid.uuid4()}", max_retries=0, timeout=20
        )
        made.append(client)
        return client

    yield make
    for client in made:
        client.close()


@pytest.fixture
def client(upstream: FakeUpstream, new_client: Callable[..., openai.OpenAI]) -> openai.OpenAI:
    """An OpenAI client that is a tenant of its own."""
    return new_client()
