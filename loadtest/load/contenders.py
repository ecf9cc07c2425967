"""Who takes part in a contest, started and given what to ask: Deja, the provider itself, LiteLLM."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from loadtest.load import contest, goals, hosts, rival
from loadtest.load.contest import BYPASS, EXACT, MISS, POPULAR, SEMANTIC, STREAMED_MISS, Contender
from loadtest.load.driver import Target
from loadtest.load.hosts import Running
from loadtest.load.texts import Topic

NO_FIRST_LEVEL = {"DEJA_CACHE__LOCAL_BYTES": "0"}
"""Every exact hit takes its round trip to Redis."""


def deja(running: Running, others: Sequence[Running], topics: Sequence[Topic], seed: int) -> Contender:
    """Deja, asked everything.

    Args:
        running: its process.
        others: processes that work for it.
        topics: stored in it.
        seed: of what is asked.
    """
    feeds = contest.feeds(topics, seed)
    straight = Target(running.port)
    around = Target(running.port, headers={**straight.headers, "x-deja-mode": "off"})
    return Contender(goals.DEJA, dict.fromkeys(feeds, straight) | {BYPASS: around}, (running, *others), feeds)


def provider(running: Running, topics: Sequence[Topic], seed: int) -> Contender:
    """The provider, called directly with what goes past a cache: what any proxy adds is told beside it."""
    feeds = {kind: feed for kind, feed in contest.feeds(topics, seed).items() if kind in (MISS, BYPASS, STREAMED_MISS)}
    return Contender(contest.PROVIDER, dict.fromkeys(feeds, Target(running.port)), (running,), feeds)


@contextlib.contextmanager
def beside_litellm(
    command: Path, topics: Sequence[Topic], seed: int, settings: Mapping[str, str]
) -> Iterator[tuple[list[Contender], dict[str, float]]]:
    """Run Deja, Deja without what it keeps in its own memory, and LiteLLM, all on one Redis and one provider.

    Args:
        command: LiteLLM's.
        topics: to be stored.
        seed: of what is asked.
        settings: of Deja, on top of the defaults.

    Yields:
        Them and the provider, and the seconds from start to serving of Deja and LiteLLM.
    """
    with contextlib.ExitStack() as stack:
        upstream = stack.enter_context(hosts.upstream())
        redis = stack.enter_context(hosts.shared_redis())
        embeddings = stack.enter_context(hosts.embeddings())
        ours = {"DEJA_REDIS__URL": redis.url, **settings}
        whole = stack.enter_context(hosts.deja(upstream, settings=ours))
        remote = stack.enter_context(hosts.deja(upstream, settings=ours | NO_FIRST_LEVEL))
        theirs = {
            cache: stack.enter_context(
                rival.litellm(command, cache, provider=upstream, redis=redis, embeddings=embeddings)
            )
            for cache in ("exact", "semantic")
        }
        shared = (upstream, redis)
        found = [
            deja(whole, shared, topics, seed),
            Contender(
                goals.FROM_REDIS,
                {EXACT: Target(remote.port)},
                (remote, *shared),
                {EXACT: contest.feeds(topics, seed)[EXACT]},
            ),
            _litellm(theirs, (*shared, embeddings), topics, seed),
            provider(upstream, topics, seed),
        ]
        yield found, {goals.DEJA: whole.start_s, goals.RIVAL: theirs["exact"].start_s}


def _litellm(theirs: Mapping[str, Running], others: Sequence[Running], topics: Sequence[Topic], seed: int) -> Contender:
    feeds = contest.feeds(topics, seed)
    exact = Target(theirs["exact"].port, model=rival.MODEL)
    semantic = Target(theirs["semantic"].port, model=rival.MODEL)
    around = Target(theirs["exact"].port, model=rival.MODEL, extra=rival.BYPASS)
    targets = dict.fromkeys(feeds, exact) | {SEMANTIC: semantic, POPULAR: semantic, BYPASS: around}
    return Contender(goals.RIVAL, targets, (*theirs.values(), *others), feeds)
