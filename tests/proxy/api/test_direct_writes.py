"""Signals written to sockets at once are what a library would have written."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame as WebSocketFrame
from websockets.frames import Opcode

from proxy.api.direct_writes import FULL_BYTES, chunk, text_frame, to_events, to_websocket
from proxy.core.coordination.signals import Frame


class Transport:
    """Notes what is written."""

    def __init__(self, *, waiting_bytes: int = 0, is_closed: bool = False) -> None:
        self.written: list[bytes] = []
        self._waiting_bytes, self._is_closed = waiting_bytes, is_closed

    def is_closing(self) -> bool:
        return self._is_closed

    def get_write_buffer_size(self) -> int:
        return self._waiting_bytes

    def write(self, data: bytes) -> None:
        self.written.append(data)


@given(st.binary(max_size=300) | st.sampled_from([b"x" * 125, b"x" * 126, b"x" * 65_535, b"x" * 65_536]))
def test_a_text_frame_is_what_websockets_makes_of_it(payload: bytes) -> None:
    assert text_frame(payload) == WebSocketFrame(Opcode.TEXT, payload).serialize(mask=False)


def test_a_chunk_is_its_size_in_hexadecimal_and_its_data() -> None:
    assert chunk(b"x" * 26) == b"1a\r\n" + b"x" * 26 + b"\r\n"


@pytest.mark.parametrize(("to", "written"), [(to_events, chunk(b"data: 1\n\n")), (to_websocket, text_frame(b"1"))])
def test_a_listener_that_keeps_up_is_written_to(to: Any, written: bytes) -> None:
    transport = Transport()
    write = to(transport)
    assert write(Frame("1", b"data: 1\n\n", is_signal=True))
    assert transport.written == [written]


@pytest.mark.parametrize("transport", [Transport(waiting_bytes=FULL_BYTES), Transport(is_closed=True)])
def test_one_that_is_slow_or_leaving_is_not(transport: Transport) -> None:
    write = to_events(transport)
    assert write is not None
    assert not write(Frame("1", b"data: 1\n\n", is_signal=True))
    assert transport.written == []


def test_without_a_transport_there_is_nothing_to_write_to() -> None:
    assert to_events(None) is None
