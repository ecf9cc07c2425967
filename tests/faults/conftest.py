"""What the fault tests share: a provider that counts, and Deja processes that may be broken."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fake_upstream import FakeUpstream


@pytest.fixture
def provider() -> Iterator[FakeUpstream]:
    with FakeUpstream() as fake:
        yield fake
