"""A change of embedder: finds the one before, opens it, has both indexes searched until its entries moved; part of the composition root.

What moves them is `services.migration`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from embeddings import prepare
from embeddings.base import Embedder
from embeddings.batching import BatchingEmbedder
from embeddings.errors import EmbedderError
from proxy import model_loading
from proxy.core.spaces import KnownEmbedder
from proxy.model_loading import Models
from proxy.ports import Guard
from proxy.services import ids
from proxy.services.background import Background
from proxy.services.both_spaces import BothEmbedders
from proxy.services.embedding import BoundedEmbedder
from proxy.services.judging import VerifyingJudge
from proxy.services.late_index import LateIndex
from proxy.services.migration import CALLS_S, Earlier, Migration
from proxy.settings import Settings
from proxy.settings.serving import EmbedderSettings
from proxy.stores.embedder_names import EmbedderNames
from proxy.stores.moving_entries import MovingEntries, progress
from proxy.stores.sealing import NoSeal, Seal
from proxy.stores.vectors import VectorIndex
from proxy.telemetry import Metrics
from proxy.tuning import shipped

logger = logging.getLogger("deja.migration")

FIRST_LOOK_S, CONFIGURED_LOOK_S = 0.5, 10.0
"""How long the start waits for a first look, so that the first request finds what the embedder before has left; the latter where the
settings name one, which has to be loaded."""
LEAVE_S = 1.0
"""For the last word on the way out: without it others wait for half a minute before they move anything."""
WAIT_SHARE = 0.5
"""Of the embedder's deadline, for the embedder before: one that is away must not cost requests what the other one says."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a migration touches.

    Attributes:
        settings: all of them.
        client: for commands that answer at once.
        guard: bounds what Redis may cost.
        background: where entries are moved.
        metrics: counts.
        seal: opens questions.
        embedder, vectors, judge: what answers by meaning, and is told of the embedder before.
    """

    settings: Settings
    client: Redis
    guard: Guard
    background: Background
    metrics: Metrics
    seal: Seal | NoSeal
    embedder: BoundedEmbedder
    vectors: LateIndex
    judge: VerifyingJudge


class Migrations:
    """What becomes of the entries of an embedder that was changed; nothing until the one in use is there."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._migration: Migration | None = None

    async def begin(self, models: Models, model: BatchingEmbedder, *, on_call: Callable[[int | None], None]) -> None:
        """The models are there: look for another embedder's entries, and go on looking in the background.

        On return a first look has ended, if that does not take too long.

        Args:
            models: in use.
            model: their embedder, as requests use it.
            on_call: told the tokens of each call of a remote embedder.
        """
        parts = self._parts
        in_use = _known(models.embedder, parts.settings.embedder)
        finder = _Finder(parts, in_use, model, models.verifier.fingerprint, on_call)
        self._migration = migration = Migration(
            embedder=in_use,
            embed=models.embedder.embed,
            names=EmbedderNames(parts.client),
            find=finder.find,
            guard=parts.guard,
            process=ids.process_id(),
            on_moved=parts.metrics.entries_moved.inc,
            now=time.time,
        )
        parts.metrics.entries_to_move.set_function(lambda: migration.left or 0)
        parts.background.keep(migration.beat, name="embedder-in-use")
        parts.background.keep(migration.run, name="migration")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_LOOK_S if finder.configured is None else CONFIGURED_LOOK_S):
                await migration.has_looked.wait()

    async def aclose(self) -> None:
        """Say that this process embeds no more; after the background ended."""
        if self._migration is not None:
            await self._migration.leave(deadline_s=LEAVE_S)

    async def status(self) -> dict[str, Any]:
        """How far the last migration is, for admins. Raises StoreError."""
        async with self._parts.guard.within(CALLS_S):
            found = await progress(self._parts.client)
        if found is None:
            return {"object": "cache.migration", "state": "none"}
        return found.shown(left=None if self._migration is None else self._migration.left)


@dataclass(slots=True)
class _Before:
    """An embedder that may have been used before.

    Attributes:
        settings: how it is opened.
        known: what it is; None as long as that would have to be found out by opening it.
    """

    settings: EmbedderSettings
    known: KnownEmbedder | None


class _Finder:
    """Finds and opens the embedder before."""

    def __init__(
        self,
        parts: Parts,
        in_use: KnownEmbedder,
        model: BatchingEmbedder,
        verifier: str,
        on_call: Callable[[int | None], None],
    ) -> None:
        self._parts = parts
        self._in_use = in_use
        self._model = model
        self._verifier = verifier
        self._on_call = on_call
        self._names = EmbedderNames(parts.client)
        previous = parts.settings.embedder.previous
        self.configured = None if previous is None else _Before(previous, None)
        self._told: set[str] = set()
        self._gone: set[str] = set()

    async def find(self) -> Earlier | None:
        """Open an embedder of before whose entries have an index, and have that searched, too; None where there is none."""
        async with self._parts.guard.within(CALLS_S):
            indexed = await self._names.indexed() - {self._in_use.tag}
            others = [one for one in await self._names.known() if one.tag in indexed]
            used = await self._names.in_use(now_s=time.time())
        for before in self._candidates(indexed, others, used):
            try:
                model = await asyncio.to_thread(self._open, before.settings)
            except EmbedderError as error:
                self._tell(repr(before.settings), logging.WARNING, "the embedder before cannot be opened: %s", error)
                continue
            expected, known = before.known, _known(model, before.settings)
            before.known = known
            if known.tag in indexed:
                return self._serve(model, known)
            model.close()
            if expected is not None:  # its files are others by now: it cannot be had any more
                self._gone.add(expected.tag)
            what = "is the one in use" if known.tag == self._in_use.tag else "has no entries left"
            self._tell(known.tag, logging.INFO, f"the embedder before, %s, {what}", known.fingerprint)
        return None

    def _open(self, wanted: EmbedderSettings) -> Embedder:
        return model_loading.open_from(wanted, self._parts.settings.artifacts, on_call=self._on_call)

    def _candidates(
        self, indexed: Collection[str], others: Collection[KnownEmbedder], used: Collection[str]
    ) -> Iterator[_Before]:
        """Of the embedders whose entries have an index those that are worth opening: the one the settings name first."""
        configured, own = self.configured, self._parts.settings.embedder
        if configured is not None and (configured.known is None or configured.known.tag in indexed):
            yield configured
        for one in others:
            # One that is in use elsewhere may be another deployment's: nobody has said that it is to be replaced.
            if one.tag in used or one.tag in self._gone or (configured is not None and one == configured.known):
                continue
            if one.source and one.source in ("package", own.source):
                yield _Before(own.model_copy(update={"source": one.source, "precision": one.precision}), one)
            else:
                self._tell(
                    one.tag,
                    logging.WARNING,
                    "entries of the embedder %s serve exact repeats alone; name it in DEJA_EMBEDDER__PREVIOUS_SOURCE to find them by "
                    "meaning, too (docs/guide/changing-the-embedder.md)",
                    one.fingerprint,
                )

    def _tell(self, once: str, level: int, sentence: str, value: object) -> None:
        if once not in self._told:
            self._told.add(once)
            logger.log(level, sentence, value)

    def _serve(self, model: Embedder, known: KnownEmbedder) -> Earlier:
        parts, before = self._parts, BatchingEmbedder(model)
        index = VectorIndex(
            parts.client,
            fingerprint=known.fingerprint,
            dim=known.dim,
            deadline_ms=parts.settings.redis.deadline_ms,
            seal=parts.seal,
        )
        wait_s = WAIT_SHARE * parts.settings.embedder.deadline_ms / 1000
        parts.embedder.use(BothEmbedders(self._model, before, wait_s=wait_s))
        parts.judge.use_earlier(shipped.calibration(known.fingerprint, self._verifier))
        parts.vectors.use_earlier(index)
        logger.info("entries of the embedder %s answer beside those of %s", known.fingerprint, self._in_use.fingerprint)
        entries = MovingEntries(parts.client, before=known.fingerprint, now=self._in_use.fingerprint, seal=parts.seal)
        return Earlier(known, index, entries, lambda: self._let_go(before))

    async def _let_go(self, before: BatchingEmbedder) -> None:
        self._parts.vectors.use_earlier(None)
        self._parts.embedder.use(self._model)
        self._parts.judge.use_earlier(None)
        await before.aclose()


def _known(model: Embedder, settings: EmbedderSettings) -> KnownEmbedder:
    source = settings.source if prepare.is_local(settings.source) else ""
    return KnownEmbedder(model.fingerprint, model.dim, source, settings.precision if source else "")
