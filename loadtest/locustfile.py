"""Users of a chat and agents at work, for Locust: people think between questions, agents hardly do.

    pip install 'deja[load]'
    locust -f loadtest/locustfile.py --host http://127.0.0.1:8080                        a web page on port 8089
    locust -f loadtest/locustfile.py --host http://127.0.0.1:8080 --headless -u 50 -r 5 -t 2m --key sk-one

Answers are told apart in Locust's table by where they came from, and a stream's first byte has a row of its own. With the simulated
provider behind it (the default of `deja serve`), each answer quotes the question that it was made for: with `--wrong-hits` an answer to
another question counts as a failure.

Users wait for their answers, so a slow server is asked less: for latency that hides nothing, use `python -m loadtest.load`.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterator
from typing import Any

from locust import FastHttpUser, between, events, task
from locust.argument_parser import LocustArgumentParser

from loadtest.load import answers, texts, workload
from loadtest.load.answers import HITS, Source
from loadtest.load.wire import CHAT
from loadtest.load.workload import Ask, Mix

FOLLOW_UPS = 3
"""Further questions of a conversation, at most."""

_seeds = itertools.count(1)


@events.init_command_line_parser.add_listener
def add_arguments(parser: LocustArgumentParser) -> None:
    """Our own options, beside Locust's."""
    parser.add_argument("--key", default="sk-load", help="the caller's API key", is_secret=True)
    parser.add_argument("--chat-model", default="simulated-small", help="model asked for")
    parser.add_argument("--streamed", type=float, default=0.3, help="share of streams")
    parser.add_argument("--wrong-hits", action="store_true", help="an answer to another question is a failure")


class Chat(FastHttpUser):
    """Asks what is popular, in people's wordings."""

    abstract = True

    def on_start(self) -> None:
        """Each user draws from the same topics, by the same popularity, in an order of its own."""
        given = self.environment.parsed_options
        mix = Mix(follow_ups=0.0, streamed=given.streamed)
        self.draw = random.Random(next(_seeds))
        self.texts = texts.authored()
        self.asks: Iterator[Ask] = workload.mixed(self.texts, mix, order_seed=1, seed=self.draw.randrange(1 << 30))
        self.headers = {"authorization": f"Bearer {given.key}"}

    def converse(self, turns: int, headers: dict[str, str]) -> None:
        """Ask something, then go on from the answer."""
        ask = next(self.asks)
        history: list[dict[str, str]] = []
        for turn in range(turns + 1):
            said = self.ask(ask, [*history, {"role": "user", "content": ask.text}], headers)
            if said is None:
                return
            history += [{"role": "user", "content": ask.text}, {"role": "assistant", "content": said}]
            if turn < turns:
                self.wait()
                topic = self.draw.choice(self.texts.follow_ups)
                text, serving = self.draw.choice(topic.wordings), frozenset(topic.wordings)
                ask = Ask(0, workload.Kind.FOLLOW_UP, text, serving, ask.is_streamed, after=ask)

    def ask(self, ask: Ask, messages: list[dict[str, str]], headers: dict[str, str]) -> str | None:
        """Ask one question; gives what was said, None where nothing was."""
        given = self.environment.parsed_options
        body: dict[str, Any] = {"model": given.chat_model, "messages": messages, "stream": ask.is_streamed}
        name = ("follow-up" if ask.after else "question") + (", streamed" if ask.is_streamed else "")
        began = time.perf_counter()
        with self.client.post(
            CHAT, json=body, headers=self.headers | headers, name=name, catch_response=True, stream=ask.is_streamed
        ) as response:
            whole = self._streamed(response, name, began) if ask.is_streamed else response.content or b""
            head = "".join(f"\r\n{key}: {value}" for key, value in (response.headers or {}).items())
            source = answers.source(response.status_code, f"HTTP/1.1{head}\r\n".encode())
            response.request_meta["name"] = f"{name}: {source.value}"
            response.request_meta["response_time"] = (time.perf_counter() - began) * 1000  # of a stream, to its end
            if source is Source.FAILED:
                response.failure(f"status {response.status_code}")
                return None
            try:
                said = answers.read(whole, is_streamed=ask.is_streamed).text
            except answers.UnreadableError:
                response.failure("no whole answer")
                return None
            is_wrong = source in HITS and answers.question(said) is not None and not answers.is_right(ask, said)
            if is_wrong and given.wrong_hits and len(messages) == 1:
                response.failure("wrong hit")
            else:
                response.success()
            return said

    def _streamed(self, response: Any, name: str, began: float) -> bytes:
        whole = b""
        for piece in response.stream:
            if not whole:
                took_ms = (time.perf_counter() - began) * 1000
                self.environment.events.request.fire(
                    request_type="first byte",
                    name=name,
                    response_time=took_ms,
                    response_length=0,
                    exception=None,
                    context={},
                )
            whole += piece
        return whole


class Person(Chat):
    """Reads an answer before asking on."""

    weight = 4
    wait_time = between(2, 8)

    @task
    def talk(self) -> None:
        """A conversation of one to four questions."""
        self.converse(self.draw.choice((0, 0, 1, FOLLOW_UPS)), {})


class Agent(Chat):
    """Works through questions in a session, hardly pausing."""

    weight = 1
    wait_time = between(0.2, 1)

    def on_start(self) -> None:
        """An agent has a name and a session."""
        super().on_start()
        number = self.draw.randrange(1 << 30)
        self.names = {"x-deja-agent": f"agent-{number % 20}", "x-deja-session": f"session-{number}"}

    @task
    def work(self) -> None:
        """One question, and sometimes a second about its answer."""
        self.converse(self.draw.choice((0, 0, 0, 1)), self.names)
