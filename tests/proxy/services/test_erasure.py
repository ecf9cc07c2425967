"""What the recorder writes of something erased; the erasure itself is tested end to end (tests/e2e/test_erasure.py)."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from proxy.core.records import Record
from proxy.errors import StoreUnavailableError
from proxy.services.erasure import RecordSink


def record(request_id: str, *, session: str | None = "s", user: str | None = None) -> Record:
    return Record(1.0, "t", request_id, session, None, ({"type": "x"},), (), user, 0.5)


class Recorded:
    """Sessions that refuse some requests at once, and find others erased afterwards."""

    def __init__(self, *, refused: set[str], overtaken: set[str]) -> None:
        self.refused, self.overtaken = refused, overtaken

    async def append(self, records: Sequence[Record]) -> list[bool]:
        return [one.request_id not in self.refused for one in records]

    async def settle(self, records: Sequence[Record]) -> list[bool]:
        return [one.request_id not in self.overtaken for one in records]


class Events:
    def __init__(self) -> None:
        self.written: list[str] = []

    async def append(self, records: Sequence[Record]) -> None:
        self.written += [one.request_id for one in records]


async def test_what_is_refused_writes_no_event_and_whatever_was_overtaken_goes_with_all_it_left() -> None:
    events, erased = Events(), []

    async def erase(tenant: str, session: str | None, user: str | None, records: Sequence[Record]) -> None:
        erased.append((tenant, session, user, [one.request_id for one in records]))

    sink = RecordSink(Recorded(refused={"req_2"}, overtaken={"req_3"}), events, erase)
    await sink.append([record("req_1"), record("req_2", session=None, user="ann"), record("req_3")])
    assert events.written == ["req_1", "req_3"]
    assert erased == [("t", None, "ann", ["req_2"]), ("t", "s", None, ["req_3"])]


async def test_a_late_erasure_that_fails_is_tried_again_with_its_batch() -> None:
    attempts = 0

    async def erase(tenant: str, session: str | None, user: str | None, records: Sequence[Record]) -> None:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            raise StoreUnavailableError("away")

    sink = RecordSink(Recorded(refused={"req_1"}, overtaken=set()), Events(), erase)
    with pytest.raises(StoreUnavailableError):  # which the recorder takes as: the whole batch once more
        await sink.append([record("req_1")])
    await sink.append([record("req_1")])
    assert attempts == 2
