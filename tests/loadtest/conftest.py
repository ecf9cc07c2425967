"""The fixtures of `rivals`, for the comparison as a whole."""

from __future__ import annotations

from tests.loadtest.rivals.conftest import make_judge, verifier

__all__ = ["make_judge", "verifier"]
