"""What came of one request."""

from __future__ import annotations

from dataclasses import dataclass

from loadtest.load.answers import Source
from loadtest.load.workload import Kind


@dataclass(frozen=True, slots=True)
class Sample:
    """One request. Moments are of `time.perf_counter`.

    Attributes:
        kind: what it was.
        is_streamed: whether it asked for a stream.
        intended_at, sent_at, first_at, done_at: when it should have gone out, did, had its first byte, its last.
        source: where the answer came from.
        is_right: whether it answers what was asked; None where it was not looked at, or there is none.
        input_tokens, output_tokens: as the answer tells.
        events: of a stream.
        failure: of a failed one, what came instead of an answer.
        wrong: of a wrong hit, what was asked and what was answered.
    """

    kind: Kind
    is_streamed: bool
    intended_at: float
    sent_at: float
    first_at: float
    done_at: float
    source: Source
    is_right: bool | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    events: int = 0
    wrong: tuple[str, str] | None = None
    failure: str = ""

    @property
    def took_ms(self) -> float:
        """What a caller waited for the last byte."""
        return (self.done_at - self.intended_at) * 1000

    @property
    def first_ms(self) -> float:
        """What a caller waited for the first byte of the body."""
        return (self.first_at - self.intended_at) * 1000

    @property
    def late_ms(self) -> float:
        """How late the generator sent."""
        return (self.sent_at - self.intended_at) * 1000
