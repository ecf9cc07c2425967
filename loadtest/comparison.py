"""Deja beside other semantic caches: the same streams, orders and vectors for all, at four budgets of wrong hits.

    python -m loadtest.comparison DATA_DIR [--out DIR] [--most N] [--orders N] [--seed S] [--only NAMES] [--publish]

DATA_DIR holds the labelled files. Writes comparison.md, comparison.json and comparison.png to DIR, and what the models said to DIR/cache,
which makes a second run quick. `--publish` puts table and picture into docs/. What the contenders are and how their thresholds are
chosen: docs/guide/comparison.md.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.progress import track

from embeddings.base import Embedder
from embeddings.onnx import OnnxEmbedder
from embeddings.prepare import prepare
from embeddings.verifier import Verifier, shipped_folder
from loadtest.rivals import field, fixed, picture, replay, report, streams
from loadtest.rivals.deja import Judge
from loadtest.rivals.field import BUDGETS, Choice, Course, Family, Runs
from loadtest.rivals.library import RedisVL
from loadtest.rivals.memo import Logits, embedded
from loadtest.rivals.replay import Per
from loadtest.rivals.report import Line, Result
from proxy.core.confidence import Calibration
from proxy.stores.embedded import EmbeddedRedis
from proxy.tuning import shipped

_REDIS_BYTES = 1024**3
_ITSELF = field.always({budget: budget for budget in BUDGETS})


@dataclass(frozen=True, slots=True)
class Models:
    """What every stream is judged with; `logits` remembers what the verifier said."""

    embedder: Embedder
    verifier: Verifier
    calibration: Calibration
    logits: Logits


def main() -> None:
    """Parse the command line, run, write."""
    args = _arguments()
    cache = args.out / "cache"
    embedder = OnnxEmbedder(prepare("package", args.artifacts, "int8"))
    verifier = Verifier(args.verifier)
    if args.calibration:
        calibration = Calibration.from_json(json.loads(args.calibration.read_text("utf-8")))
    else:
        calibration = shipped.calibration(embedder.fingerprint, verifier.fingerprint)
    models = Models(embedder, verifier, calibration, Logits(cache, verifier.fingerprint))
    results: list[Result] = []
    with _redis(args.artifacts) as redis_url:
        for halves in streams.read(args.data_dir, args.most, args.only.split(",") if args.only else ()):
            courses = tuple(_course(half, models, cache, args.orders, args.seed) for half in halves)
            found = compare((courses[0], courses[1]), calibration, redis_url, args.library_orders)
            models.logits.save()
            print("\n".join(report.stream_table(result) for result in found))
            results += found
    setup = report.Setup(embedder.fingerprint, verifier.fingerprint, args.orders, args.seed)
    (args.out / "comparison.md").write_text(report.markdown(results, setup), "utf-8")
    (args.out / "comparison.json").write_text(json.dumps(report.as_json(results), indent=1) + "\n", "utf-8")
    for per in Per:
        of_it = [result for result in results if result.per is per]
        print(report.summary(of_it))
        picture.draw(of_it, args.out / report.IMAGES[per])
    if args.publish:
        report.publish(results, setup, args.out)


def compare(
    courses: tuple[Course, Course], calibration: Calibration, redis_url: str, library_orders: int
) -> list[Result]:
    """Run all contenders over one stream; the results are those of its two accounts, `Per`.

    Args:
        courses: its halves.
        calibration: Deja's, with the level of each budget.
        redis_url: for the library.
        library_orders: orders that the library is asked in, which takes thirty times as long as any other; 0 leaves it out.
    """
    name = courses[0].stream.name
    kinds, runs = field.families(), Runs(courses)
    for family in track(list(kinds.values()), description=name):
        for setting in family.settings:
            runs.both(family, (setting, setting))
    library, agreement = _library(courses, runs, kinds["cosine"], redis_url, library_orders)
    curves = {
        family.name: [replay.joined(runs.both(family, (setting, setting))) for setting in family.settings]
        for family in kinds.values()
        if family.settings
    }
    possible = float(np.mean([replay.possible(course.stream, order) for course in courses for order in course.orders]))
    lines = {Per.HITS: [*_by_hits(runs, kinds, calibration), *library], Per.REQUESTS: _by_requests(runs, kinds)}
    return [Result(name, per, tuple(lines[per]), curves, possible, agreement) for per in Per]


def _by_hits(runs: Runs, kinds: dict[str, Family], calibration: Calibration) -> list[Line]:
    """Everybody under a budget of wrong answers among hits, which is what Deja promises."""
    levels = {budget: calibration.level_for(budget) for budget in BUDGETS}
    default = field.always(fixed.GPTCACHE_DEFAULT)
    return [
        _line(report.SHIPPED, runs, kinds["deja"], field.always(levels), Per.HITS),
        *_chosen(runs, kinds, Per.HITS),
        _line("GPTCache distance, its default", runs, kinds["gptcache"], default, Per.HITS),
        _line("vCache, δ = budget", runs, kinds["vcache"], _ITSELF, Per.HITS),
    ]


def _by_requests(runs: Runs, kinds: dict[str, Family]) -> list[Line]:
    """Everybody under a budget of wrong answers among all requests, which is what vCache promises."""
    rule = _line("vCache, δ = budget", runs, kinds["vcache"], _ITSELF, Per.REQUESTS)
    return [*_chosen(runs, kinds, Per.REQUESTS), rule]


def _chosen(runs: Runs, kinds: dict[str, Family], per: Per) -> list[Line]:
    """Those whose number has to be chosen."""
    return [
        _line(report.OTHER_HALF, runs, kinds["deja"], field.from_the_other_half, per),
        _line(report.HINDSIGHT, runs, kinds["deja"], field.in_hindsight, per),
        _line("cosine, best threshold in hindsight", runs, kinds["cosine"], field.in_hindsight, per),
        _line("cosine, threshold from the other half", runs, kinds["cosine"], field.from_the_other_half, per),
        _line("GPTCache k-reciprocal, best in hindsight", runs, kinds["reciprocal"], field.in_hindsight, per),
        _line("vCache's estimate, best in hindsight", runs, kinds["estimate"], field.in_hindsight, per),
    ]


def _line(name: str, runs: Runs, family: Family, choice: Choice, per: Per) -> Line:
    settings = {budget: choice(runs, family, budget, per) for budget in BUDGETS}
    tallies = {budget: replay.joined(runs.both(family, chosen)) for budget, chosen in settings.items()}
    return Line(name, settings, tallies)


def _library(
    courses: tuple[Course, Course], runs: Runs, cosine: Family, redis_url: str, most: int
) -> tuple[list[Line], float | None]:
    """Run redisvl at the thresholds that cosine gets from the other half, in the first orders; say how often the two agree."""
    if not most:
        return [], None
    settings = {budget: field.from_the_other_half(runs, cosine, budget, Per.HITS) for budget in BUDGETS}
    done: dict[tuple[int, float], replay.Tally] = {}
    same = []
    for half, setting in sorted({(half, two[half]) for two in settings.values() for half in (0, 1)}):
        course, outcomes = courses[half], []
        for order in course.orders[:most]:
            cache = RedisVL(redis_url, f"{course.stream.name}{half}", course.stream.texts, course.vectors, setting)
            outcomes.append(replay.replay(course.stream, order, cache, replay.Store(course.similarity)))
            cache.close()
        done[half, setting] = replay.Tally(np.stack(outcomes), course.stream.answer)
        alone = runs.half(cosine, setting, half).outcome[:most]
        was_asked = (alone != replay.NOT_ASKED) | (done[half, setting].outcome != replay.NOT_ASKED)
        same.append((alone == done[half, setting].outcome)[was_asked])
    tallies = {budget: replay.joined([done[half, two[half]] for half in (0, 1)]) for budget, two in settings.items()}
    agreement = float(np.concatenate(same).mean())
    return [Line("redisvl SemanticCache, cosine's threshold from the other half", settings, tallies)], agreement


def _course(half: streams.Stream, models: Models, cache: Path, orders: int, seed: int) -> Course:
    vectors, is_readable = embedded(half.texts, models.embedder, cache)
    similarity = vectors @ vectors.T
    judge = Judge(half.texts, is_readable, similarity, models.calibration, models.verifier, models.logits)
    return Course(half, half.orders(orders, seed), vectors, similarity, judge, seed)


@contextmanager
def _redis(artifacts: Path) -> Iterator[str]:
    folder = Path(tempfile.mkdtemp(prefix="deja-comparison-"))
    server = EmbeddedRedis(folder, artifacts, max_memory_bytes=_REDIS_BYTES)
    try:
        server.start()
        yield server.url
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("--out", type=Path, default=Path("comparison"))
    parser.add_argument("--most", type=int, default=2000, help="questions of half a stream at most")
    parser.add_argument("--orders", type=int, default=5)
    parser.add_argument(
        "--library-orders", type=int, default=5, help="of them, in how many redisvl runs, too; 0 leaves it out"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help=f"streams, comma between: {', '.join(streams.READERS)}")
    parser.add_argument(
        "--artifacts", type=Path, default=Path(".deja/artifacts"), help="where `make install` put the models"
    )
    parser.add_argument("--verifier", type=Path, default=shipped_folder())
    parser.add_argument("--calibration", type=Path, help="a calibration instead of the shipped one")
    parser.add_argument("--publish", action="store_true", help="put table and picture into docs/")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    return args


if __name__ == "__main__":
    main()
