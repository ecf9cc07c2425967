"""What deciding about one candidate costs on one thread: python -m loadtest.decision_cost [--pairs 200] [--rounds 9].

Questions of the repository that the verifier's training kept aside. Each pair is timed `--rounds` times and its
least time counts, which is what the code takes and not what else the machine does; of the pairs, median and 95th percentile.
Embedding one question on the same thread in the same rounds stands beside it, so that machines can be compared by ratio.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Sequence

from rich.progress import track

from embeddings.base import OneWay
from embeddings.training import authored_groups
from embeddings.training.pairs import Pair
from loadtest.load import bare, figures
from proxy.core import gates
from proxy.core.gates.reading import read

SEED = 7
CANDIDATES = 3

Call = Callable[[], object]


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=200, help="questions with their candidates (200)")
    parser.add_argument("--rounds", type=int, default=9, help="times each is taken (9)")
    given = parser.parse_args()
    rng = random.Random(SEED)
    pairs = rng.sample([pair for pair in authored_groups.pairs()[1] if pair.stored != pair.asked], given.pairs)
    print(table(measure(bare.Models(), pairs, given.rounds)))


def measure(models: bare.Models, pairs: Sequence[Pair], rounds: int) -> dict[str, list[float]]:
    """Time every step: its name to the least milliseconds of each pair, sorted."""
    least: dict[str, list[float]] = {}
    for at in track(range(len(pairs)), description="pairs"):
        near = [pairs[(at + step) % len(pairs)] for step in range(CANDIDATES)]
        for name, call in _steps(models, near).items():
            least.setdefault(name, []).append(min(_took_ms(call) for _ in range(rounds)))
    return {name: sorted(took) for name, took in least.items()}


def table(found: dict[str, list[float]]) -> str:
    """Lay the figures out as Markdown."""
    floor = figures.percentile(found["embedding the question"], 50)
    lines = ["| one thread | p50, ms | p95, ms | of an embedding |", "|---|---|---|---|"]
    for name, took in found.items():
        p50, p95 = figures.percentile(took, 50), figures.percentile(took, 95)
        lines.append(f"| {name} | {p50:.3f} | {p95:.3f} | {p50 / floor:.2f} |")
    return "\n".join(lines)


def _steps(models: bare.Models, near: Sequence[Pair]) -> dict[str, Call]:
    stored, asked = near[0].stored, near[0].asked
    there = [OneWay(pair.stored, asked) for pair in near]
    both = [(pair.stored, asked) for pair in near]
    verifier = models.verifier
    return {
        "embedding the question": lambda: models.embedder.embed([asked]),
        "gates, both texts read before": lambda: gates.objections(stored, asked),
        "gates, the candidate read before": lambda: _gates(stored, asked, unread=(asked,)),
        "gates, neither text read before": lambda: _gates(stored, asked, unread=(stored, asked)),
        "verifier, best candidate, one order": lambda: verifier.score(there[:1]),
        "verifier, best candidate, both orders": lambda: verifier.score(both[:1]),
        "verifier, three candidates, one order": lambda: verifier.score(there),
        "verifier, three candidates, both orders": lambda: verifier.score(both),
    }


def _gates(stored: str, asked: str, *, unread: Sequence[str]) -> object:
    """Read what is not remembered, and compare; reading anew goes past what `read` remembers."""
    fresh = {text: read.__wrapped__(text) for text in unread}
    return gates.objections(fresh.get(stored) or read(stored), fresh[asked])


def _took_ms(call: Call) -> float:
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1000


if __name__ == "__main__":
    main()
