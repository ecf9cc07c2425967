"""`deja replay SESSION --serve PORT`: answers an agent's calls from the recording alone, as a provider would, and tells what differs.

Neither cache nor provider is asked, so what was not cached, failed or came out differently twice runs again as it was. Loopback only.
"""

from __future__ import annotations

import itertools
import signal
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import orjson
import uvicorn

from proxy import console
from proxy.commands import replay
from proxy.core.dialects import BY_PATH
from proxy.core.dialects.base import Dialect, Fault, Replay
from proxy.core.dialects.chat import CHAT
from proxy.core.models import Entry, WireMode
from proxy.core.rerun import Diverged, Rerun
from proxy.errors import RequestError

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

HOST = "127.0.0.1"
ROOT = "/v1"
_JSON = (b"content-type", b"application/json")
_EVENTS = (b"content-type", b"text/event-stream; charset=utf-8")
Reply = tuple[int, list[tuple[bytes, bytes]], bytes]


class Provider:
    """The ASGI application: a provider that knows one run.

    Args:
        rerun: hands out its steps.
        say: tells the terminal.
    """

    def __init__(self, rerun: Rerun, say: Callable[[str], None]) -> None:
        self._rerun = rerun
        self._say = say

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        status, headers, answer = self._answer(scope["method"], scope["path"], body)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    def _answer(self, method: str, path: str, body: bytes) -> Reply:
        dialect = BY_PATH.get(path.removeprefix(ROOT)) if method == "POST" and path.startswith(ROOT) else None
        if dialect is None:
            known = ", ".join(f"{ROOT}{one}" for one in BY_PATH)
            return _refused(CHAT, 404, f"A replay answers POST {known} and nothing else.", "not_found")
        try:
            asked = orjson.loads(body)
            step = self._rerun.step(dialect.path, asked)
        except orjson.JSONDecodeError:
            return _refused(dialect, 400, "The body is no JSON.", "invalid_json")
        except RequestError as error:
            return _refused(dialect, error.status, error.message, error.code)
        if isinstance(step, Diverged):
            self._say(str(step))
            return _refused(dialect, 422, str(step), "diverged")  # a status that clients do not try again by themselves
        self._say(f"step {step['step']}: given")
        return _recorded(dialect, step, asked)


def _recorded(dialect: Dialect, step: Any, asked: Any) -> Reply:
    number = (b"x-deja-step", str(step["step"]).encode())
    if step["answer"] is None:
        status = step["status"] if step["status"] >= 400 else 502
        message = f"Step {step['step']} had no answer when it was recorded."
        status, headers, body = _refused(dialect, status, message, "no_answer")
        return status, [*headers, number], body
    is_stream = not {"chunks", "events"}.isdisjoint(step["answer"])
    entry = Entry(
        entry_id="",
        question="",
        body=orjson.dumps(step["answer"]),
        wire=WireMode.STREAM if is_stream else WireMode.BOTH,
        created_at=step["at"],
        ttl_s=1,
    )
    request, count = dialect.canonical(asked, key_user=True), itertools.count()
    replayed = Replay(
        mint=lambda prefix: f"{prefix}step{step['step']:x}{next(count):02x}",
        created=int(step["at"]),
        request=request,
        sent=asked,
    )
    if request.is_stream:
        return 200, [_EVENTS, number], b"".join(dialect.render_stream(entry, replayed))
    if is_stream:
        message = f"Step {step['step']} was recorded as a stream that cannot be told whole."
        return _refused(dialect, 422, message, "stream_only")
    return 200, [_JSON, number], dialect.render_json(entry, replayed)


def _refused(dialect: Dialect, status: int, message: str, code: str) -> Reply:
    return status, [_JSON], dialect.error_body(Fault(status, message, "replay_error", code))


def serve(root: str, session: str, *, port: int, api_key: str | None) -> bool:
    """Serve a session's recording until stopped; whether every step was given and every call was one of them.

    Args:
        root: of the running Deja that has the recording; read once, at the beginning.
        session: its name.
        port: to listen on, 0 for a free one.
        api_key: of the tenant.

    Raises:
        AskingError: there is no such recording.
        OSError: the port is taken.
    """
    steps = replay.recorded(root, session, api_key=api_key)
    rerun = Rerun(steps)
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((HOST, port))
        listening.listen()  # from here on a call waits for its answer; before, it would be refused
        url = f"http://{HOST}:{listening.getsockname()[1]}{ROOT}"
        console.say(f"{session}: {len(steps)} steps at {url} - give your agent this base URL; Ctrl-C ends it")
        # uvicorn raises what stopped it once more when it is done: then there is still something to say.
        signal.signal(signal.SIGTERM, lambda *_: None)
        signal.signal(signal.SIGINT, lambda *_: None)
        uvicorn.Server(uvicorn.Config(Provider(rerun, console.say), log_config=None, access_log=False)).run([listening])
    console.say(f"{len(rerun.given)} of {len(steps)} steps given, {rerun.diverged} calls that were not recorded")
    return not rerun.left and not rerun.diverged
