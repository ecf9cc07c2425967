"""Folders that are made once and used by many: a lock between processes, and publishing by rename.

A reader never sees half a folder: it is built beside its final name and renamed when complete. What a killed process
left is removed by the next one that holds the lock.
"""

from __future__ import annotations

import fcntl
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

Progress = Callable[[str, float | None], None]
"""Called with what is being done, and the share done in [0, 1] where it is known."""

_STAGING_SUFFIX = ".partial"
_POLL_S = 0.1  # short beside what is waited for: a download or an export, seconds each


def silent(message: str, share: float | None) -> None:
    """Report nothing."""
    del message, share


@contextmanager
def exclusive(lock_path: Path, progress: Progress = silent) -> Iterator[None]:
    """Hold a lock file, waiting for any other process that holds it; the system frees it when its holder dies."""
    lock_path.parent.mkdir(parents=True, exist_ok=True)
    with lock_path.open("w") as lock:
        is_waiting = False
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not is_waiting:
                    progress("waiting for another process that prepares the model", None)
                    is_waiting = True
                time.sleep(_POLL_S)
        yield


@contextmanager
def staged(target: Path) -> Iterator[Path]:
    """Give an empty folder that becomes `target` when the block ends well, and vanishes when it does not.

    The caller holds the lock; `target` does not exist yet.
    """
    staging = target.with_name(target.name + _STAGING_SUFFIX)
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    try:
        yield staging
        staging.rename(target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
