"""Load on a Deja of its own, or on one that runs already.

    python -m loadtest.load rate --rate 100 --seconds 60        latency at a fixed rate, hits and wrong hits
    python -m loadtest.load saturate --p99-ms 100               the most, and what is sustained
    python -m loadtest.load soak --minutes 30                   70 % of what is sustained, for long
    python -m loadtest.load rate --at 127.0.0.1:8080 --key sk-…  a Deja (or a LiteLLM) that runs already

The provider is simulated and can be slow, varied and unreliable (`--latency-ms 400 --sigma 0.5 --tokens-per-s 80 --failure-rate 0.01`).
`--out FOLDER` writes JSON, Markdown and a picture. The exit status is 1 if requests failed or a soak was not passed.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from loadtest.load import arrivals, driver, figures, hosts, meters, reports, saturation, soak, texts, wire, workload
from loadtest.load.answers import Source
from loadtest.load.driver import Target
from loadtest.load.hammer import hammer
from loadtest.load.hosts import Running
from loadtest.load.meters import Meter
from loadtest.load.reports import Report
from loadtest.load.samples import Sample
from loadtest.load.saturation import Step
from loadtest.load.workload import Ask, Mix

MOST_S = 10.0
"""How long the most is looked for."""
say = Console(stderr=True).print


@dataclass(frozen=True, slots=True)
class Session:
    """A server under load.

    Attributes:
        target: it.
        running: its processes; empty where it is not ours.
        asks: what it is asked, without end; goes on from phase to phase, so that the cache is as warm as it has become.
        given: the arguments.
    """

    target: Target
    running: tuple[Running, ...]
    asks: Iterator[Ask]
    given: argparse.Namespace

    def at_rate(self, rate: float, seconds: float) -> list[Sample]:
        """Send at a mean rate."""
        samples: list[Sample] = []
        moments = arrivals.ARRIVALS[self.given.arrivals](rate, self.given.seed)
        wire.exact(driver.open_loop(self.target, self.asks, moments, seconds=seconds, on_sample=samples.append))
        return samples

    def warm(self) -> None:
        """Ask until the cache knows what is popular; nothing of it counts."""
        if self.given.warm:
            say(f"warming up: {self.given.warm} requests")
            asks = (ask for _, ask in zip(range(self.given.warm), self.asks, strict=False))
            wire.fast(driver.closed_loop(self.target, asks, seconds=600, connections=8, on_sample=lambda _: None))


def main() -> None:
    """Run as the command line says."""
    given = _arguments()
    report = Report(meters.machine(), meters.commit(), time.strftime("%Y-%m-%d", time.gmtime()), _told(given))
    with session(given) as under:
        under.warm()
        {"rate": _rate, "saturate": _saturate, "soak": _soak}[given.what](under, report)
    print(reports.markdown(report))
    if given.out:
        reports.write(report, given.out, given.what)
    has_failed = report.summary is not None and report.summary.failed > 0
    raise SystemExit(1 if has_failed or (report.verdict is not None and report.verdict.complaints) else 0)


@contextlib.contextmanager
def session(given: argparse.Namespace) -> Iterator[Session]:
    """Start what the arguments ask for."""
    mix = Mix(given.zipf, given.reworded, given.traps, given.follow_ups, given.streamed)
    source = texts.authored() if given.texts == "authored" else texts.templated(given.topics, given.seed)
    asks = workload.mixed(source, mix, given.seed)
    headers = {"authorization": f"Bearer {given.key}"}
    if given.at:
        host, _, port = given.at.rpartition(":")
        yield Session(Target(int(port), given.model, headers, host=host or "127.0.0.1"), (), asks, given)
        return
    pace = {"latency_ms": given.latency_ms, "sigma": given.sigma, "tokens_per_s": given.tokens_per_s}
    with (
        hosts.upstream(**pace, failure_rate=given.failure_rate, seed=given.seed) as provider,
        hosts.deja(provider, settings=dict(given.set), arguments=["--workers", str(given.workers)]) as deja,
    ):
        yield Session(Target(deja.port, given.model, headers), (deja, provider), asks, given)


def _rate(under: Session, report: Report) -> None:
    say(f"{under.given.rate:g} requests a second for {under.given.seconds:g} s")
    meter = Meter(under.running)
    report.summary = figures.summary(under.at_rate(under.given.rate, under.given.seconds), report.prices)
    report.used = meter.read()


def _saturate(under: Session, report: Report) -> None:
    say(f"the most, at {under.given.connections} connections")
    raws = (under.target.raw(ask) for ask in under.asks if ask.after is None)
    meter = Meter(under.running)
    blows = hammer(under.target.port, raws, seconds=MOST_S, connections=under.given.connections, host=under.target.host)
    report.used = meter.read()
    if not blows.took_ms:
        raise SystemExit(f"load: nothing was answered: {blows.failure[:500].decode(errors='replace')}")

    def probe(rate: float) -> Step:
        samples = under.at_rate(rate, under.given.seconds)
        failed = sum(sample.source is Source.FAILED for sample in samples)
        p99_ms = figures.percentile(sorted(sample.took_ms for sample in samples), 99)
        say(f"{rate:8.1f} a second: p99 {p99_ms:.1f} ms, {failed} failed")
        return Step(rate, p99_ms, failed, not failed and p99_ms <= under.given.p99_ms)

    report.saturation = saturation.search(probe, blows.per_s, under.given.p99_ms)


def _soak(under: Session, report: Report) -> None:
    rate = under.given.rate
    if rate is None:
        _saturate(under, report)
        assert report.saturation is not None
        rate = max(1.0, under.given.share * report.saturation.sustained_per_s)
    say(f"soaking at {rate:.1f} a second for {under.given.minutes:g} minutes")
    meter = Meter(under.running)

    def read() -> meters.Shares:
        nonlocal meter
        used, meter = meter.read(), Meter(under.running)
        return used

    windows = soak.Windows(read, lambda w: say(f"{w.at_s:7.0f} s: {w.requests} requests, p99 {w.p99_ms:.1f} ms"))
    moments = arrivals.ARRIVALS[under.given.arrivals](rate, under.given.seed)
    wire.exact(
        driver.open_loop(under.target, under.asks, moments, seconds=under.given.minutes * 60, on_sample=windows.add)
    )
    report.windows = windows.end()
    if not report.windows:
        raise SystemExit(f"load: a soak lasts at least {soak.WINDOW_S:.0f} s")
    report.verdict = soak.verdict(report.windows)


def _told(given: argparse.Namespace) -> dict[str, object]:
    """The arguments that shaped the run, without the key."""
    return {
        name: value for name, value in vars(given).items() if name not in ("key", "out") and value not in (None, [])
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest.load", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest="what", required=True)
    rate = verbs.add_parser("rate", help="latency at a fixed rate")
    rate.add_argument("--rate", type=float, default=50.0, help="requests a second (50)")
    rate.add_argument("--seconds", type=float, default=30.0, help="it lasts (30)")
    saturate = verbs.add_parser("saturate", help="the most, and what is sustained")
    soaking = verbs.add_parser("soak", help="for long")
    soaking.add_argument("--minutes", type=float, default=30.0, help="it lasts (30)")
    soaking.add_argument("--share", type=float, default=0.7, help="of what is sustained (0.7)")
    soaking.add_argument("--rate", type=float, help="requests a second, instead of looking for what is sustained")
    for verb in (saturate, soaking):
        verb.add_argument("--p99-ms", type=float, default=100.0, help="what callers accept (100)")
        verb.add_argument("--seconds", type=float, default=10.0, help="each rate is tried (10)")
        verb.add_argument("--connections", type=int, default=32, help="to find the most (32)")
    for verb in (rate, saturate, soaking):
        _shared(verb)
    return parser.parse_args()


def _shared(verb: argparse.ArgumentParser) -> None:
    what = verb.add_argument_group("what is asked")
    what.add_argument("--texts", choices=("authored", "templated"), default="authored", help="people's, or many alike")
    what.add_argument("--topics", type=int, default=1000, help="of templated texts (1000)")
    what.add_argument("--zipf", type=float, default=Mix().zipf, help="exponent of popularity; 0 is all alike (0.9)")
    what.add_argument("--reworded", type=float, default=Mix().reworded, help="share that draws any wording (0.5)")
    what.add_argument("--traps", type=float, default=Mix().traps, help="share of near misses (0.05)")
    what.add_argument("--follow-ups", type=float, default=Mix().follow_ups, help="share that goes on (0.1)")
    what.add_argument("--streamed", type=float, default=Mix().streamed, help="share of streams (0.3)")
    what.add_argument("--arrivals", choices=tuple(arrivals.ARRIVALS), default="poisson")
    what.add_argument("--warm", type=int, default=1000, help="requests before anything counts (1000)")
    what.add_argument("--seed", type=int, default=7)
    whom = verb.add_argument_group("whom")
    whom.add_argument("--at", metavar="HOST:PORT", help="a server that runs already, without TLS")
    whom.add_argument("--key", default="sk-load", help="the caller's")
    whom.add_argument("--model", default="simulated-small")
    whom.add_argument("--workers", type=int, default=1, help="of our own Deja (1)")
    whom.add_argument("--set", type=_setting, action="append", default=[], metavar="NAME=VALUE", help="a setting of it")
    provider = verb.add_argument_group("the simulated provider")
    provider.add_argument(
        "--latency-ms", type=float, default=0.0, help="before the first byte; the median if it varies"
    )
    provider.add_argument("--sigma", type=float, default=0.0, help="log-normal spread of it; 0 is fixed")
    provider.add_argument("--tokens-per-s", type=float, default=0.0, help="0 is at once")
    provider.add_argument("--failure-rate", type=float, default=0.0, help="share of calls that end in 429 or 500")
    verb.add_argument("--out", type=Path, metavar="FOLDER", help="also write JSON, Markdown and a picture there")


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError("write NAME=VALUE")
    return name, value


if __name__ == "__main__":
    main()
