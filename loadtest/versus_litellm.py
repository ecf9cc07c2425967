"""Deja beside LiteLLM's proxy: the same Redis, the same simulated provider, the same texts, in turns.

    python -m loadtest.versus_litellm                       some twelve minutes; installs LiteLLM into .deja/litellm first
    python -m loadtest.versus_litellm --short               some three minutes: a look, not a record
    python -m loadtest.versus_litellm --only exact,semantic --seconds 3
    python -m loadtest.versus_litellm --out results         versus.json, versus.md and versus.png

One worker each, default settings, Deja's whole decision (gates, verifier, calibrated level) on. LiteLLM's exact cache is its Redis
cache; its semantic cache asks Deja's own embedding model, served by a process of its own. The bare rate is the same embedding and
verifying with no proxy around it. The exit status is 1 if a goal was missed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from loadtest.load import bare, contenders, contest, contest_report, goals, meters, rival, texts
from loadtest.load.contest import (
    BYPASS,
    EXACT,
    MISS,
    POPULAR,
    PROVIDER,
    SEMANTIC,
    STREAMED_HIT,
    STREAMED_MISS,
    Contender,
    Contest,
)
from loadtest.load.texts import Topic

WORDS = {
    "exact": (EXACT,),
    "semantic": (SEMANTIC, POPULAR),
    "miss": (MISS,),
    "bypass": (BYPASS,),
    "streaming": (STREAMED_MISS, STREAMED_HIT),
    "rates": (),
}
"""What `--only` knows, and the kinds of request behind it."""

AT_MANY = (EXACT, SEMANTIC, POPULAR, MISS, BYPASS)
"""Kinds that are also asked by many connections at once."""

SHARE_OF_MOST = 0.5
"""Of what a contender can take at most on popular texts: fixed rates are at half of it, where queues are short."""


def main() -> None:
    """Run as the command line says."""
    given = _arguments()
    found = measure(given)
    told = contest_report.markdown(found)
    print(told)
    if given.out:
        given.out.mkdir(parents=True, exist_ok=True)
        (given.out / "versus.json").write_text(json.dumps(asdict(found), indent=1) + "\n", "utf-8")
        (given.out / "versus.md").write_text(told, "utf-8")
        with contextlib.suppress(ImportError):
            from loadtest.load import plots

            plots.versus(found, given.out / "versus.png")
    raise SystemExit(1 if any(goal.is_met is False for goal in goals.goals(found)) else 0)


def measure(given: argparse.Namespace) -> Contest:
    """Start everything, run all phases, end everything."""
    command = rival.install(given.venv)
    topics = texts.templated(given.topics, given.seed).topics
    day = time.strftime("%Y-%m-%d", time.gmtime())
    found = Contest(meters.machine(), meters.commit(), day, given.seed, given.connections, len(topics))
    kinds = [kind for word in given.only for kind in WORDS[word]]
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    bar = Progress(*columns, console=Console(stderr=True), refresh_per_second=2, disable=given.no_progress)
    with contenders.beside_litellm(command, topics, given.seed, dict(given.set)) as (everybody, found.starts), bar:
        able = {kind: [each for each in everybody if kind in each.feeds] for kind in kinds}
        caches = {kind: [each for each in able[kind] if each.name != PROVIDER] for kind in kinds if kind in AT_MANY}
        steps = given.blocks * sum(map(len, able.values())) + given.rounds * sum(map(len, caches.values()))
        shown = bar.add_task("storing", total=steps)
        _fill(everybody, topics)
        for kind in kinds:
            bar.update(shown, description=f"one connection: {kind}")
            found.alone[kind] = contest.alone(
                able[kind], kind, blocks=given.blocks, each=given.each, on_block=lambda: bar.advance(shown)
            )
        models = bare.Models() if SEMANTIC in kinds else None
        pairs = [(topic.wordings[0], text) for topic in topics for text in topic.wordings[1:3]]
        for number in range(given.rounds):
            told = f"round {number + 1}/{given.rounds}"
            found.loads.append(contest.load())
            if models is not None:
                bar.update(shown, description=f"{told}: the models alone")
                found.bare.append(bare.measure(models, pairs, seconds=3 * given.seconds))
            found.rounds.append({})
            for kind, those in caches.items():
                bar.update(shown, description=f"{told}: {kind}")
                found.rounds[-1][kind] = {}
                for each in those if number % 2 else reversed(those):
                    found.rounds[-1][kind][each.name] = contest.through(
                        each, kind, seconds=given.seconds, connections=given.connections
                    )
                    bar.advance(shown)
        if "rates" in given.only:
            _at_rates(found, everybody, given, bar)
    return found


def _fill(everybody: Sequence[Contender], topics: Sequence[Topic]) -> None:
    """Store the topics in every cache."""
    for each in everybody:
        ports = {each.targets[kind].port: kind for kind in (EXACT, SEMANTIC) if kind in each.targets}
        for kind in ports.values():
            contest.fill(each, topics, kind)


def _at_rates(found: Contest, everybody: Sequence[Contender], given: argparse.Namespace, bar: Progress) -> None:
    """Both at half of what LiteLLM can take, then Deja at half of what it can take itself."""
    deja, litellm = (next(each for each in everybody if each.name == name) for name in (goals.DEJA, goals.RIVAL))
    most = {
        name: min(
            (round_[kind][name].per_s for round_ in found.rounds for kind in (POPULAR, MISS) if kind in round_),
            default=40.0,
        )
        for name in (goals.DEJA, goals.RIVAL)
    }
    low = max(1.0, SHARE_OF_MOST * most[goals.RIVAL])
    high = max(low, SHARE_OF_MOST * most[goals.DEJA])
    apart = {"x-deja-namespace": "high"}  # nothing that the low rate stored is found again
    shown = bar.add_task("fixed rates", total=3)
    for each, rate, headers in ((deja, low, {}), (litellm, low, {}), (deja, high, apart)):
        seconds = given.rate_seconds
        found.rates.append(contest.at_rate(each, round(rate, 1), seconds=seconds, seed=given.seed, headers=headers))
        bar.advance(shown)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="less of everything: a look, not a record")
    parser.add_argument("--only", type=_words, default=list(WORDS), help=f"comma between: {', '.join(WORDS)}")
    parser.add_argument("--rounds", type=int, help="of many connections (5, or 1 with --short)")
    parser.add_argument("--seconds", type=float, help="of each kind in a round (5, or 2 with --short)")
    parser.add_argument("--rate-seconds", type=float, help="of each fixed rate (60, or 10 with --short)")
    parser.add_argument("--topics", type=int, help="stored (1000, or 200 with --short)")
    parser.add_argument("--blocks", type=int, help="at one connection, of each kind (20, or 4 with --short)")
    parser.add_argument("--each", type=int, default=20, help="requests of a block (20)")
    parser.add_argument("--connections", type=int, default=32, help="in rounds (32)")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument(
        "--set", type=_setting, action="append", default=[], metavar="NAME=VALUE", help="a setting of Deja's"
    )
    parser.add_argument("--venv", type=Path, default=rival.VENV, help=f"where LiteLLM is, or will be ({rival.VENV})")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="also write JSON, Markdown and a picture there")
    parser.add_argument("--no-progress", action="store_true", help="no bar, for logs")
    given = parser.parse_args()
    short = {"rounds": 1, "seconds": 2.0, "rate_seconds": 10.0, "topics": 200, "blocks": 4}
    whole = {"rounds": 5, "seconds": 5.0, "rate_seconds": 60.0, "topics": 1000, "blocks": 20}
    for name, value in (short if given.short else whole).items():
        if getattr(given, name) is None:
            setattr(given, name, value)
    return given


def _words(text: str) -> list[str]:
    found = [word.strip() for word in text.split(",")]
    if unknown := [word for word in found if word not in WORDS]:
        raise argparse.ArgumentTypeError(f"knows {', '.join(WORDS)}, not {', '.join(unknown)}")
    return found


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError("write NAME=VALUE")
    return name, value


if __name__ == "__main__":
    main()
