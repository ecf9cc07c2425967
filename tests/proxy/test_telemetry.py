"""Log lines as JSON objects, and the line of a request."""

from __future__ import annotations

import asyncio
import json
import logging
import sys

import pytest

from proxy.telemetry import JsonLines, PlacesOnly, log_of_loop, log_request


def line_of(message: str, **told: object) -> dict[str, object]:
    record = logging.LogRecord("deja.test", logging.WARNING, __file__, 1, message, None, None)
    record.__dict__.update(told)
    found: dict[str, object] = json.loads(JsonLines().format(record))
    return found


def test_a_line_holds_time_level_logger_and_message() -> None:
    line = line_of('it said "no"\nand left')
    assert (line["level"], line["logger"], line["message"]) == ("warning", "deja.test", 'it said "no"\nand left')
    assert str(line["time"]).endswith("+00:00")
    assert "\n" not in JsonLines().format(logging.LogRecord("x", 20, "", 1, "a\nb", None, None))


def test_a_request_a_message_speaks_of_is_named() -> None:
    assert line_of("request req_5cab09e3f56e25b7d6fbd698 failed")["request_id"] == "req_5cab09e3f56e25b7d6fbd698"
    assert "request_id" not in line_of("no request at all")


def test_a_requests_line_is_one_line_whatever_the_caller_calls_its_model(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "deja.requests")
    log_request("req_1", "chat", 'gpt\n2026 ERROR "forged"', "exact", None, 200, 0.0012)
    (record,) = caplog.records
    assert record.getMessage() == (
        'request_id=req_1 route=chat model="gpt\\n2026 ERROR \\"forged\\"" outcome=exact status=200 duration_ms=1.2'
    )


def test_no_line_where_none_is_wanted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "deja.requests")
    log_request("req_1", "chat", "m", "exact", None, 200, 0.001)
    assert not caplog.records


def fails(prompt: str) -> None:
    raise ValueError(prompt)


def record_with(message: str, name: str) -> logging.LogRecord:
    try:
        fails(message)
    except ValueError:
        return logging.LogRecord(name, logging.ERROR, "", 1, "it failed", None, sys.exc_info())
    raise AssertionError


@pytest.mark.parametrize("formatter", [logging.Formatter("%(message)s"), JsonLines()], ids=["text", "json"])
def test_what_a_library_logs_of_an_exception_is_its_places(formatter: logging.Formatter) -> None:
    record = record_with("What is Bob's diagnosis?", "mcp.server")
    assert PlacesOnly().filter(record)
    line = formatter.format(record)
    assert "it failed" in line
    assert "ValueError at" in line
    assert "Bob" not in line


def test_what_the_server_says_as_it_starts_is_left() -> None:
    record = record_with("port 8080 is taken", "uvicorn.error")
    assert PlacesOnly().filter(record)
    assert "port 8080 is taken" in logging.Formatter().format(record)


async def test_what_asyncio_says_of_an_exception_quotes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    loop.set_exception_handler(log_of_loop)  # type: ignore[arg-type]
    done = asyncio.Event()

    try:
        loop.call_soon(fails, "What is Bob's diagnosis?")
        loop.call_soon(done.set)
        await done.wait()
        await asyncio.sleep(0)
    finally:
        loop.set_exception_handler(before)
    assert "Exception in callback" in caplog.text
    assert "ValueError at" in caplog.text
    assert "Bob" not in caplog.text
