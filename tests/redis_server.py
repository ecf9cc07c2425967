"""A private embedded Redis for tests: one call, a real server in a temporary directory, gone at the end."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from proxy.stores.embedded import EmbeddedRedis

REPOSITORY = Path(__file__).resolve().parent.parent
TEST_MEMORY_BYTES = 256 * 1024 * 1024


def artifacts_dir() -> Path:
    """Where `deja prepare` puts what is fetched once; shared by all tests, so nothing is fetched twice."""
    named = os.environ.get("DEJA_ARTIFACTS_DIR")
    return Path(named) if named else Path(os.environ.get("DEJA_DATA_DIR", REPOSITORY / ".deja")) / "artifacts"


@contextmanager
def private_server(*, max_memory_bytes: int = TEST_MEMORY_BYTES) -> Iterator[EmbeddedRedis]:
    """Run an embedded server of this test's own; yields the supervisor (`url`, `pid`, `stop`)."""
    folder = Path(tempfile.mkdtemp(prefix="deja-test-"))
    server = EmbeddedRedis(folder, artifacts_dir(), max_memory_bytes=max_memory_bytes)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def private_redis(*, max_memory_bytes: int = TEST_MEMORY_BYTES) -> Iterator[str]:
    """Run an embedded server of this test's own; yields its URL."""
    with private_server(max_memory_bytes=max_memory_bytes) as server:
        yield server.url
