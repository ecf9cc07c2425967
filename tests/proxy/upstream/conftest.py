"""What the upstream tests share."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator

import pytest

from tests.fake_upstream import fake_upstream as fake_upstream


@pytest.fixture(scope="module", autouse=True)
def leavings() -> Iterator[None]:
    """Collects what LiteLLM left open, which would be told of a test of another module."""
    yield
    told, sys.unraisablehook = sys.unraisablehook, lambda _: None
    gc.collect()
    sys.unraisablehook = told
