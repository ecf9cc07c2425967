"""One Deja process and one fake provider for the examples that need no settings of their own; each test is a tenant of its own."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from tests.deja_process import DejaProcess, running_deja
from tests.fake_upstream import FakeUpstream


@pytest.fixture(scope="package")
def shared_provider() -> Iterator[FakeUpstream]:
    with FakeUpstream() as fake:
        yield fake


@pytest.fixture(scope="package")
def deja(shared_provider: FakeUpstream) -> Iterator[DejaProcess]:
    with running_deja(DEJA_UPSTREAM__BASE_URL=shared_provider.base_url) as process:
        yield process


@pytest.fixture
def provider(shared_provider: FakeUpstream) -> Iterator[FakeUpstream]:
    """The fake provider, fresh."""
    shared_provider.reset()
    yield shared_provider
    shared_provider.reset()


@pytest.fixture
def api_key() -> str:
    return f"sk-{uuid.uuid4()}"
