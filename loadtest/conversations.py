"""How often a conversation that is reworded in both turns hits on both: python -m loadtest.conversations [--out FILE] [NAME=VALUE ...].

Each row of `conversations.jsonl` is asked of a Deja of its own (embedded Redis, simulated provider), in a namespace of its own: the
conversation as it was, then in other words, the second turn after the answer that came. Last, a question that is easily taken for that
turn, which must not hit. NAME=VALUE are settings of Deja, as in its environment. The rows were written for this by a language model that
saw nothing of Deja's, "far" in words as unlike as people's, "plain" as when asked to rephrase; no model was taught on them.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
from rich.progress import track

from loadtest.load import hosts
from proxy.core.sequences import binomial_interval
from proxy.tuning.through_proxy import read_status

FILE = Path(__file__).with_name("conversations.jsonl")

Message = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Conversation:
    """A row of the file.

    Attributes:
        set: which of the sittings it was written in.
        first: opens a conversation.
        first_again: asks the same in other words.
        second: goes on from the answer.
        second_again: asks the same in other words.
        second_other: is easily taken for `second`, and needs another answer.
    """

    set: str
    first: str
    first_again: str
    second: str
    second_again: str
    second_other: str


@dataclass(frozen=True, slots=True)
class Told:
    """What `through_proxy.read_status` says of a conversation's reworded turns."""

    set: str
    first: str
    second: str
    other: str


def read(path: Path = FILE) -> list[Conversation]:
    """Read the conversations."""
    return [Conversation(**json.loads(line)) for line in path.read_text("utf-8").splitlines()]


def ask(client: httpx.Client, namespace: str, conversation: Conversation) -> Told:
    """Hold a conversation as it was, then in other words."""
    answer, _ = _ask(client, namespace, [_user(conversation.first)])
    _ask(client, namespace, [_user(conversation.first), _assistant(answer), _user(conversation.second)])
    opening = [_user(conversation.first_again)]
    answer, first = _ask(client, namespace, opening)
    opening.append(_assistant(answer))
    _, second = _ask(client, namespace, [*opening, _user(conversation.second_again)])
    _, other = _ask(client, namespace, [*opening, _user(conversation.second_other)])
    return Told(conversation.set, first, second, other)


def summary(told: Sequence[Told]) -> str:
    """Say per set how many hit, as Markdown, and why the others did not."""
    lines = [
        "| set | conversations | first turn | both turns (95 %) | another question taken for the second |",
        "|---|" * 5,
    ]
    lines[1] = "|---|---|---|---|---|"
    for name in sorted({one.set for one in told}):
        some = [one for one in told if one.set == name]
        both = sum(_hits(one.first) and _hits(one.second) for one in some)
        interval = binomial_interval(both, len(some), 0.05)
        lines.append(
            f"| {name} | {len(some)} | {sum(_hits(one.first) for one in some)} | {both}"
            f" ({100 * interval.low:.0f} to {100 * interval.high:.0f} %) | {sum(_hits(one.other) for one in some)} |"
        )
    first = Counter(one.first for one in told if not _hits(one.first))
    second = Counter(one.second for one in told if _hits(one.first) and not _hits(one.second))
    lines += ["", f"First turns that missed: {_counts(first)}.", f"Second turns after a hit: {_counts(second)}."]
    return "\n".join(lines)


def _counts(reasons: Counter[str]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in reasons.most_common()) or "none"


def _hits(status: str) -> bool:
    return status.startswith("hit")


def _ask(client: httpx.Client, namespace: str, messages: Sequence[Message]) -> tuple[str, str]:
    body = {"model": "gpt-4o-mini", "messages": list(messages)}
    answer = client.post("/v1/chat/completions", json=body, headers={"X-Deja-Namespace": namespace}).raise_for_status()
    return answer.json()["choices"][0]["message"]["content"], read_status(answer.headers["cache-status"])


def _user(text: str) -> Message:
    return {"role": "user", "content": text}


def _assistant(text: str) -> Message:
    return {"role": "assistant", "content": text}


def main() -> None:
    """Start Deja, ask, print; keep what came of each conversation if asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, help="receives what came of each conversation, as JSON lines")
    parser.add_argument("settings", nargs="*", metavar="NAME=VALUE", help="such as DEJA_CACHE__MAX_WRONG_HIT_RATE=0.02")
    args = parser.parse_args()
    settings = dict(one.split("=", 1) for one in args.settings)
    rows = read()
    with (
        hosts.upstream() as provider,
        hosts.deja(provider, settings=settings) as deja,
        httpx.Client(base_url=f"http://127.0.0.1:{deja.port}", timeout=60.0) as client,
    ):
        told = [ask(client, f"talk-{at}", row) for at, row in track(list(enumerate(rows)), description="asking")]
    print(summary(told))
    if args.out:
        lines = [json.dumps(asdict(row) | asdict(one)) for row, one in zip(rows, told, strict=True)]
        args.out.write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
