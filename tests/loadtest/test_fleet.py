"""The fleet's benchmark in a tiny form: it runs, and reports what it should. Its numbers mean nothing here."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from dataclasses import asdict, replace

import pytest

from loadtest import fleet, fleet_phases, fleet_report, fleet_wire
from loadtest.fleet_phases import Row, Sizes
from loadtest.fleet_report import Measured, Report, is_met, markdown
from loadtest.fleet_wire import Answer, Call, Sample, open_loop

TINY = Sizes(state_s=0.2, events=200, subscribers=5, signals=2, tasks=10, wakeups=2, workers=(1, 2))


def measured(*rows: Row, phase: str = "events", run: int = 0) -> Measured:
    shares = dict.fromkeys(fleet_report.PROCESSES, 0.25)
    return Measured(run, phase, 2.0, 1.5, shares, {"evalsha mean us": 30.0}, 0.1, list(rows))


def row(what: str = "append, 100 a batch", *, per_s: float | None = 6000.0, p99_ms: float = 0.9) -> Row:
    return Row(what, 100, per_s, 0.2, 0.5, p99_ms, 0.1, 0.4)


def test_a_tiny_run_measures_every_phase_and_every_goal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet_phases, "WARM_UP_S", 0.1)
    report = fleet.measure(TINY, list(fleet.PHASES), runs=1, seed=3, is_quiet=True)
    assert [each.phase for each in report.measured] == list(fleet.PHASES)
    assert set(fleet_report.GOALS) <= {(each.phase, row.what) for each in report.measured for row in each.rows}
    for each in report.measured:
        assert set(each.shares) == set(fleet_report.PROCESSES)
        assert sum(each.shares.values()) > 0
        for one in each.rows:
            assert 0 < one.p50_ms <= one.p95_ms <= one.p99_ms, (each.phase, one)
            assert one.server_p99_ms is None or 0 < one.server_p99_ms <= one.p99_ms + 0.5, (each.phase, one)
    done = {row.what: row.count for each in report.measured for row in each.rows}
    assert done["complete, 2 workers, 20 a claim"] == TINY.tasks
    assert done["WebSocket"] == done["server-sent events"] == TINY.subscribers * TINY.signals
    assert json.loads(json.dumps(asdict(report)))["seed"] == 3
    told = markdown(report)
    assert all(f"| **{phase}** |" in told for phase in fleet.PHASES)


async def test_a_stall_of_the_server_is_counted_though_nothing_could_be_sent_meanwhile() -> None:
    gate = asyncio.Lock()

    async def served_in_turn() -> Answer:
        async with gate:
            sent_at = time.time()
            await asyncio.sleep(0.05)
            return Answer(200, b"", sent_at, time.time(), time.time())

    samples = await open_loop([Call(0.001 * step, "read", served_in_turn) for step in range(5)], lambda: None)
    took = sorted(sample.took_ms for sample in samples)
    assert took[-1] > 4 * 45  # it waited for four others, though its own answer took 50 ms
    assert max(sample.server_ms or 0 for sample in samples) < took[-1]


async def test_calls_while_everything_is_new_are_made_and_not_counted() -> None:
    made: list[str] = []

    async def called() -> None:
        made.append("called")

    calls = [Call(0.001 * step, "ping", called) for step in range(10)]
    samples = await open_loop(calls, lambda: None, skipped_s=0.0045)
    assert (len(made), len(samples)) == (10, 5)
    assert all(sample.server_ms is None for sample in samples)


def test_rows_tell_kinds_apart_and_their_percentiles() -> None:
    samples = [Sample("read", float(ms), ms / 2, 0.0) for ms in range(1, 101)] + [Sample("write", 7.0, None, 0.0)]
    read, write = fleet_phases.rows_of(samples, per_s={"write": 12.34})
    assert read == Row("read", 100, None, 51.0, 96.0, 100.0, 25.5, 50.0)
    assert write == Row("write", 1, 12.3, 7.0, 7.0, 7.0, None, None)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        pytest.param([row(per_s=4999.0)], False, id="missed"),
        pytest.param([row(per_s=4999.0), row(per_s=5000.0)], True, id="met in one run"),
        pytest.param([row("append, one", per_s=1.0)], True, id="no goal"),
    ],
)
def test_goals_are_held_against_the_best_run(rows: list[Row], expected: bool) -> None:
    report = Report("here", 1, "today", [measured(each, run=number) for number, each in enumerate(rows)])
    assert is_met(report) is expected


def test_the_table_tells_best_and_worst_and_how_often_a_goal_was_met() -> None:
    report = Report("here", 1, "today", [measured(row(per_s=4000.0, p99_ms=30.0)), measured(row(), run=1)])
    report.measured[1] = replace(report.measured[1], load=3.0)
    told = markdown(report)
    assert "2 runs, load average 1.5 to 3.0" in told
    assert (
        "| append, 100 a batch | 100 | 6,000 … 4,000 | 0.20 | 0.50 | 0.90 … 30 | 0.10 | 0.40 | ≥ 5,000 a second | 1 of 2 |"
        in told
    )
    assert "| events | 25 % | 25 % | 25 % | 25 % | 5,000 | 30 | – | 0.10 |" in told


async def test_an_answer_in_pieces_is_read_whole_with_the_time_of_its_last(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair()
    monkeypatch.setattr(fleet_wire, "connected", lambda port: (ours.setblocking(False), ours)[1])
    wire = fleet_wire.Wire(0)
    asked = asyncio.gather(wire.ask(b"GET / HTTP/1.1\r\n\r\n"))
    for piece in (b"HTTP/1.1 201 Created\r\nContent-", b"Length: 6\r\n\r\nabc", b"def"):
        await asyncio.sleep(0.01)
        theirs.send(piece)
    ((answer),) = await asked
    assert (answer.status, answer.body) == (201, b"abcdef")
    assert answer.read_at - answer.sent_at >= 0.02  # three pauses of 0.01, each of which the clock may round
    wire.close()
    theirs.close()


def test_an_error_is_no_result() -> None:
    with pytest.raises(SystemExit, match="expected \\(200,\\), got 503: away"):
        fleet_wire.expected(Answer(503, b"away", 0.0, 0.0, 0.0), 200)
