"""/metrics of several workers: whichever is asked answers for all.

Counting stays in each worker's memory; nothing is shared until someone asks. The one that is asked has its siblings, over a Unix socket in
a folder of theirs, write what they have counted each into its file, and adds the files up. What was told once is in a file, so it survives
the worker, however that ends; the supervisor keeps the sum of those that are gone (`absorb`).

    <worker>.sock   "write now"        <worker>.json   what it had counted when last asked        ended.json   the sum of the absorbed
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric

from proxy.core.metric_sums import Family, Snapshot, added_up, from_plain, to_plain
from proxy.telemetry import GAUGES

logger = logging.getLogger("deja.metrics")

ASK_S = 1.0
"""A sibling that has not written by then counts as it last wrote; Prometheus itself gives up after 10 s."""
MAX_ABSORBED = 256
"""Names kept of absorbed workers: a scrape under way may have read the file of one just before it was absorbed."""
_ENDED = "ended"


class Siblings:
    """The workers of one supervisor, to one of them.

    Args:
        folder: theirs; private to the user.
        name: of this worker, never used again by another.
        registry: what this worker counts.
    """

    def __init__(self, folder: Path, name: str, registry: CollectorRegistry) -> None:
        self._folder = folder
        self._name = name
        self._registry = registry
        self._server: asyncio.AbstractServer | None = None

    async def open(self) -> None:
        """Be asked from now on."""
        self._server = await asyncio.start_unix_server(self._asked, self._socket(self._name))

    async def aclose(self) -> None:
        """Leave the last counts for the others."""
        if self._server is not None:
            self._server.close()
            with contextlib.suppress(OSError):
                self._socket(self._name).unlink()
        self._write()

    async def scrape(self) -> bytes:
        """All workers' metrics in Prometheus' text format."""
        self._write()
        names = sorted({path.stem for path in self._folder.glob("*.sock")} - {self._name})
        answered = dict(zip(names, await asyncio.gather(*map(self._ask, names)), strict=True))
        # Workers' files before the sum of the ended: one that is absorbed meanwhile is then in the sum, if nowhere else.
        files = {
            path.stem: found
            for path in self._folder.glob("*.json")
            if path.stem not in (_ENDED, self._name) and (found := _read(path)) is not None
        }
        gone, absorbed = _read_ended(self._folder)
        others = [found for name, found in files.items() if answered.get(name)]
        ended = [found for name, found in files.items() if not answered.get(name) and name not in absorbed]
        return rendered(added_up(snapshot_of(self._registry), others, [*ended, gone], gauges=GAUGES))

    def _write(self) -> None:
        _replace(self._folder / f"{self._name}.json", to_plain(snapshot_of(self._registry)))

    async def _asked(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            self._write()
            writer.write(b"1")

    async def _ask(self, name: str) -> bool:
        """Have a sibling write its file; False if it is gone, or too slow."""
        try:
            async with asyncio.timeout(ASK_S):
                reader, writer = await asyncio.open_unix_connection(self._socket(name))
                with contextlib.closing(writer):
                    return await reader.read(1) == b"1"
        except (OSError, TimeoutError):
            return False

    def _socket(self, name: str) -> Path:
        return self._folder / f"{name}.sock"


def absorb(folder: Path, name: str) -> None:
    """Add what a worker that has ended left behind to the sum of the ended; one process does this, one worker at a time."""
    path = folder / f"{name}.json"
    with contextlib.suppress(OSError):
        (folder / f"{name}.sock").unlink()
    left = _read(path)
    if left is None:
        return
    before, absorbed = _read_ended(folder)
    total = added_up([family for family in left if family.kind != "gauge"], ended=[before], gauges={})
    # One replacement says both what was added and whose it was, so that no scrape counts it twice or not at all.
    _replace(folder / f"{_ENDED}.json", {"absorbed": [*absorbed, name][-MAX_ABSORBED:], "families": to_plain(total)})
    path.unlink()


def snapshot_of(registry: CollectorRegistry) -> list[Family]:
    """What a registry has counted."""
    return [
        Family(
            family.name,
            family.type,
            family.documentation,
            {(sample.name, tuple(sorted(sample.labels.items()))): float(sample.value) for sample in family.samples},
        )
        for family in registry.collect()
    ]


def rendered(families: Iterable[Family]) -> bytes:
    """In Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(_Collected(families))
    return generate_latest(registry)


class _Collected:
    """Families as prometheus_client collects them."""

    def __init__(self, families: Iterable[Family]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        for family in self._families:
            metric = Metric(family.name, family.help, family.kind)
            for (name, labels), value in family.samples.items():
                metric.add_sample(name, dict(labels), value)
            yield metric

    def describe(self) -> Iterable[Metric]:
        return ()


def _read(path: Path) -> list[Family] | None:
    try:
        return from_plain(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None


def _read_ended(folder: Path) -> tuple[Snapshot, list[str]]:
    try:
        kept = json.loads((folder / f"{_ENDED}.json").read_bytes())
    except FileNotFoundError:
        return [], []
    return from_plain(kept["families"]), kept["absorbed"]


def _replace(path: Path, content: Any) -> None:
    """Write a file so that readers find the old or the new one whole. Not orjson: a metric may be nan."""
    aside = path.with_suffix(".new")
    aside.write_text(json.dumps(content))
    aside.replace(path)
