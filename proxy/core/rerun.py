"""An agent run once more against a recording: which recorded answer a call gets, and what is different about one that gets none.

A call gets the answer of the first step not yet given whose request is the same in canonical form: several agents may call in another
order than then, and the same question asked twice gets its two answers in turn. Ids do not count, those of tool calls and that of the
response a request goes on from: a run has its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from proxy.core.dialects import BY_PATH
from proxy.core.keys import digest
from proxy.core.recording import TURNS, differences


@dataclass(frozen=True, slots=True)
class Diverged:
    """A call that was not made then.

    Attributes:
        nearest: number of the next step not yet given, None when all are.
        differences: in what the call differs from that step's request.
    """

    nearest: int | None
    differences: tuple[str, ...]

    def __str__(self) -> str:
        """In words, for whoever made the call."""
        if self.nearest is None:
            return "All recorded steps have been given, and this call is one more."
        return (
            f"This call was not recorded. Step {self.nearest} comes next, and differs: {'; '.join(self.differences)}."
        )


class Rerun:
    """Hands out recorded steps.

    Args:
        steps: as `GET /v1/sessions/{session_id}/recording` tells them, in order.

    Attributes:
        given: numbers of the steps that were given, in that order.
        diverged: how many calls were not in the recording.
    """

    def __init__(self, steps: Sequence[Mapping[str, Any]]) -> None:
        self._left = [
            (_fingerprint(step["path"], step["request"]), step) for step in steps if step["request"] is not None
        ]
        self.given: list[int] = []
        self.diverged = 0

    @property
    def left(self) -> int:
        """Steps not yet given."""
        return len(self._left)

    def step(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any] | Diverged:
        """The step that this call is.

        Args:
            path: of a dialect.
            body: the request's.

        Raises:
            RequestError: the body is no request of that API.
        """
        wanted = _fingerprint(path, body)
        for at, (fingerprint, step) in enumerate(self._left):
            if fingerprint == wanted:
                del self._left[at]
                self.given.append(step["step"])
                return step
        self.diverged += 1
        if not self._left:
            return Diverged(None, ())
        _, following = self._left[0]
        then = _canonical(following["path"], following["request"])
        return Diverged(following["step"], differences(then, _canonical(path, body)))


def _canonical(path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    dialect = BY_PATH[path]
    request = dialect.canonical(body, key_user=True)
    goes_on = {"previous_response_id": True} if request.keyed.get("previous_response_id") else {}
    said = [*request.instructions, *request.prefix, request.last]
    return {"path": path, **request.keyed, **goes_on, TURNS[dialect.family]: said}


def _fingerprint(path: str, body: Mapping[str, Any]) -> str:
    return digest("rerun", _canonical(path, body))
