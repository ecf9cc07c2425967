"""`deja explain`, `deja feedback` and `deja what-if`: what a running Deja says of its decisions, for a person to read."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from proxy.commands import asking

LINE_CHARS = 100
"""Questions are cut to this many characters: two of them and their scores fit a wide terminal."""


def explain(root: str, request_id: str, *, api_key: str | None) -> str:
    """A decision in words. Raises AskingError."""
    return "\n".join(_explained(asking.get(root, f"cache/explain/{quote(request_id, safe='')}", api_key=api_key)))


def feedback(root: str, request_id: str, verdict: str, *, api_key: str | None) -> str:
    """Cast a vote on a hit, and say what it did. Raises AskingError."""
    taken = asking.post(root, "cache/feedback", {"request_id": request_id, "verdict": verdict}, api_key=api_key)
    done = [] if taken["new"] else ["That was said before."]
    if taken["evicted"]:
        done.append(f"The entry {taken['entry_id']} is evicted.")
    elif verdict == "wrong":
        done.append(f"The entry {taken['entry_id']} was gone already.")
    if taken["pair_never_equal"]:
        done.append("The two wordings are never taken for the same question again.")
    return " ".join(done or ["Noted."])


def what_if(
    root: str, max_wrong_hit_rate: float, *, namespace: str | None, limit: int | None, api_key: str | None
) -> str:
    """What another error budget would have done. Raises AskingError."""
    found = asking.get(
        root,
        "cache/what-if",
        api_key=api_key,
        max_wrong_hit_rate=max_wrong_hit_rate,
        namespace=namespace,
        limit=limit,
    )
    return "\n".join(_replayed(found))


def _explained(found: dict[str, Any]) -> Iterator[str]:
    yield found["summary"]
    reason = f" ({found['reason']})" if found["reason"] else ""
    yield f"  {found['request_id']}, {_moment(found['at'])}: {found['outcome']}{reason}, model {found['model']}"
    yield from (f"- {sentence}" for sentence in found["sentences"])
    if found["neighbours"]:
        yield f"\nAsked: {_cut(found['asked'] or '')}"
        yield "Stored questions, nearest first (similarity, confidence):"
    for one in found["neighbours"]:
        yield f"  {one['similarity']:.3f}  {_share(one['confidence'])}  {_cut(one['question'])}"
        yield f"                {one['why']}"


def _replayed(found: dict[str, Any]) -> Iterator[str]:
    now, then = found["now"], found["then"]
    since = f" since {_moment(found['since'])}" if found["since"] else ""
    level = (
        "exact hits only: no level is known to keep it"
        if found["exact_only"]
        else f"a confidence of {found['level']:.4f}"
    )
    yield f"At most {found['max_wrong_hit_rate']:.2%} wrong means {level}."
    yield f"{found['decisions']} decisions of the semantic tier{since}, {found['undecided']} of them open.\n"
    yield f"{'':24}{'now':>12}{'then':>12}"
    yield f"{'semantic hits':24}{now['hits']:>12}{then['hits']:>12}"
    yield f"{'of these wrong, expected':24}{now['expected_wrong']:>12.1f}{then['expected_wrong']:>12.1f}"
    yield f"{'  between (95 %)':24}{_between(now):>12}{_between(then):>12}"
    if now["hits_without_confidence"]:
        yield f"{'without a confidence':24}{now['hits_without_confidence']:>12}{then['hits_without_confidence']:>12}"
    yield from _pairs("Hits that would come, worst first", found["gained"])
    yield from _pairs("Hits that would go, best first", found["lost"])
    yield from _pairs("Misses all the same, nearest first", found["near"])


def _pairs(heading: str, pairs: list[dict[str, Any]]) -> Iterator[str]:
    if pairs:
        yield f"\n{heading} (confidence, how often, asked, stored):"
    for pair in pairs:
        yield f"  {_share(pair['confidence'])} {pair['count']:>4} ×  {_cut(pair['asked'])}"
        yield f"{'':17}{_cut(pair['question'])}"


def _between(tally: dict[str, Any]) -> str:
    low, high = tally["wrong_between"]
    return f"{low} to {high}"


def _share(confidence: float | None) -> str:
    return "       -" if confidence is None else f"{confidence:8.4f}"


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LINE_CHARS else f"{line[: LINE_CHARS - 1]}…"


def _moment(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
