"""`make bench`: what Deja costs on this machine, in half a minute: one connection, then many, beside the provider and the models alone.

    python -m loadtest.bench [--requests 200] [--seconds 2] [--json FILE]

The short form of `python -m loadtest.versus_litellm`, without the rival: the same phases, the same tables, with Deja's embedded Redis.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from loadtest.load import bare, contenders, contest, contest_report, figures, goals, hosts, meters, texts
from loadtest.load.contest import BYPASS, EXACT, MISS, POPULAR, SEMANTIC, STREAMED_MISS, Contest

ALONE = (EXACT, SEMANTIC, POPULAR, MISS, BYPASS, STREAMED_MISS)
TOGETHER = (EXACT, SEMANTIC, POPULAR, MISS)
BLOCK = 20
CONNECTIONS = 32
SEED = 7
TOPICS = 200


def main() -> None:
    """Run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=200, help="of each kind at one connection (200)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each kind at many connections (2)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every number here")
    given = parser.parse_args()
    found = run(given.requests, given.seconds)
    print(contest_report.markdown(found))
    if given.json:
        given.json.write_text(json.dumps(asdict(found), indent=1) + "\n", "utf-8")


def run(requests: int, seconds: float, settings: Mapping[str, str] | None = None) -> Contest:
    """Measure every kind: so many requests at one connection, so many seconds at many; settings are Deja's."""
    topics = texts.templated(TOPICS, SEED).topics
    day = time.strftime("%Y-%m-%d", time.gmtime())
    found = Contest(meters.machine(), meters.commit(), day, SEED, CONNECTIONS, len(topics))
    found.loads.append(contest.load())
    models = bare.Models()
    pairs = [(topic.wordings[0], topic.wordings[1]) for topic in topics]
    found.bare.append(bare.measure(models, pairs, seconds=2 * seconds))
    with hosts.upstream() as provider, hosts.deja(provider, settings=settings) as running:
        found.starts[goals.DEJA] = running.start_s
        deja = contenders.deja(running, (provider,), topics, SEED)
        both = (deja, contenders.provider(provider, topics, SEED))
        contest.fill(deja, topics, EXACT)
        for kind in ALONE:
            blocks, those = max(1, requests // BLOCK), [each for each in both if kind in each.feeds]
            found.alone[kind] = contest.alone(those, kind, blocks=blocks, each=BLOCK, on_block=lambda: None)
        found.rounds.append(
            {
                kind: {goals.DEJA: contest.through(deja, kind, seconds=seconds, connections=CONNECTIONS)}
                for kind in TOGETHER
            }
        )
    return found


def percentile(values: list[float], percent: float) -> float:
    """The value below which `percent` of the values lie (nearest rank)."""
    return figures.percentile(sorted(values), percent)


if __name__ == "__main__":
    main()
