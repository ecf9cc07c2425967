"""What stands for `services.kept.Kept` where a test is not about it: tests/proxy/services/test_kept.py is."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, nullcontext


class KeptAtOnce:
    """Every write is kept the moment it is answered."""

    def keeping(self) -> AbstractAsyncContextManager[None]:
        return nullcontext()
