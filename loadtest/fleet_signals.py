"""The fleet's benchmark of signals: one sender, many who listen, and when each signal was written to each socket.

The kernel stamps what arrives (`fleet_wire`), so that a generator that is still reading its first hundred sockets does not make the
thousandth look slow: `server` is from sending the publish until Deja had written it to a subscriber's socket, the other until it had
been read.
"""

from __future__ import annotations

import re
import select
import socket
import time

from loadtest.fleet_host import KEY
from loadtest.fleet_phases import Found, Run, rows_of
from loadtest.fleet_wire import Sample, connected, request, stamped

GAP_S = 0.2
"""Between two signals."""
PATIENCE_S = 30.0
OPENED_AT_ONCE = 50
_NUMBER = re.compile(rb'"k":(\d+)')
_EVENTS = "GET {path} HTTP/1.1\r\nhost: deja\r\nauthorization: Bearer {key}\r\naccept: text/event-stream\r\n\r\n"
_WEBSOCKET = (
    "GET {path} HTTP/1.1\r\nhost: deja\r\nauthorization: Bearer {key}\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
    "sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
KINDS = {"server-sent events": (_EVENTS, b"HTTP/1.1 200"), "WebSocket": (_WEBSOCKET, b"HTTP/1.1 101")}


def signals(run: Run) -> Found:
    """Publish to as many subscribers, first of the one kind, then of the other."""
    samples: list[Sample] = []
    for kind, (opening, welcome) in KINDS.items():
        path = f"/v1/signals/fleet-{run.number}-{len(samples)}"
        samples += _heard(run, kind, path, opening, welcome)
    return Found(rows_of(samples), 0.0)


def _heard(run: Run, kind: str, path: str, opening: str, welcome: bytes) -> list[Sample]:
    """Every signal must reach everyone; one that does not ends the benchmark."""
    poll = select.epoll()
    hello = opening.format(path=path, key=KEY).encode()
    sockets: dict[int, socket.socket] = {}
    opened = 0
    try:
        while opened < run.sizes.subscribers:
            for _ in range(min(OPENED_AT_ONCE, run.sizes.subscribers - len(sockets))):
                listener = connected(run.host.port)
                listener.send(hello)
                sockets[listener.fileno()] = listener
                poll.register(listener.fileno(), select.EPOLLIN)
            opened += _welcomed(poll, sockets, welcome, len(sockets) - opened)
        time.sleep(0.2)
        for file, _ in poll.poll(0):
            sockets[file].recv(1 << 16)  # the comment that follows the head
        return _publish(run, kind, path, poll, sockets)
    finally:
        for listener in sockets.values():
            listener.close()
        poll.close()


def _welcomed(poll: select.epoll, sockets: dict[int, socket.socket], welcome: bytes, wanted: int) -> int:
    give_up_at, opened = time.monotonic() + PATIENCE_S, 0
    while opened < wanted:
        if time.monotonic() > give_up_at:
            raise SystemExit(f"fleet: {wanted - opened} of {wanted} subscribers were not let in")
        for file, _ in poll.poll(1):
            opened += sockets[file].recv(1 << 16).count(welcome)
    return opened


def _publish(run: Run, kind: str, path: str, poll: select.epoll, sockets: dict[int, socket.socket]) -> list[Sample]:
    sender = connected(run.host.port)
    sent_at: list[float] = []
    samples: list[Sample] = []
    wanted = run.sizes.signals * len(sockets)
    next_at = time.time()
    give_up_at = next_at + run.sizes.signals * GAP_S + PATIENCE_S
    while len(samples) < wanted:
        now = time.time()
        if now > give_up_at:
            raise SystemExit(f"fleet: {wanted - len(samples)} of {wanted} signals did not arrive")
        if len(sent_at) < run.sizes.signals and now >= next_at:
            raw = request("POST", path, key=KEY, body=b'{"k":%d}' % len(sent_at))
            sent_at.append(time.time())
            sender.send(raw)
            next_at += GAP_S
            run.on_done()
        for file, _ in poll.poll(0.005):
            piece, left_at = stamped(sockets[file])
            read_at = time.time()
            for number in _NUMBER.findall(piece):
                since = sent_at[int(number)]
                samples.append(Sample(kind, (read_at - since) * 1000, (left_at - since) * 1000, 0.0))
    sender.close()
    return samples
