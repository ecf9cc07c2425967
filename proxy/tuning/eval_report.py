"""What `deja eval` found, as Markdown to publish and as JSON to compute with. No text of any pair is in either."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from proxy.core.confidence import EXACT_ONLY
from proxy.tuning.advice import percent
from proxy.tuning.evaluate import Evaluation, SetResult
from proxy.tuning.figures import Bin, Outcome, Share
from proxy.tuning.streams import StreamOutcome, StreamResult
from proxy.tuning.through_proxy import ProxyResult

_READING = """*Found*: hits among pairs labelled the same. *Accepted*: hits among pairs labelled different. In square brackets what cosine
alone finds at its best level that accepts no more; in round ones exact 95 % intervals (Clopper and Pearson). Equal texts hit by the exact
tier; a question that is never matched by meaning is a miss, as in the proxy."""


_PARTS = """Found at the level, chosen on the set itself, that accepts 0.5 / 1 / 2 / 5 % of its different pairs: what a score is worth
there, not what a product gets."""


def markdown(found: Evaluation, proxied: Sequence[ProxyResult] = ()) -> str:
    """Write everything as tables."""
    parts = ["# What Deja finds and accepts", _configuration(found), _READING]
    if found.sets:
        parts += [f"## At the default budget of {percent(found.budget)}", _default_table(found.sets)]
        parts += ["## At other budgets", "Found [cosine] / accepted.", _budget_table(found)]
        if found.error is not None:
            parts += ["## Calibration", _calibration(found)]
    if any(one.parts for one in found.sets):
        parts += ["## What each part can tell apart", _PARTS, _part_table(found.sets)]
    if found.streams:
        parts += ["## Streams", *(_stream(one) for one in found.streams)]
    if proxied:
        parts += ["## Through a running proxy", _proxy_table(proxied)]
    return "\n\n".join(parts) + "\n"


def as_json(found: Evaluation, proxied: Sequence[ProxyResult] = ()) -> dict[str, Any]:
    """Everything as numbers."""
    return {
        "embedder": found.embedder,
        "verifier": found.verifier,
        "budget": found.budget,
        "levels": {f"{budget:g}": level for budget, level in found.levels.items()},
        "calibration_error": found.error,
        "bins": [_bin(one) for one in found.bins],
        "sets": [_set(one) for one in found.sets],
        "streams": [_stream_json(one) for one in found.streams],
        "through_proxy": [one.as_json() for one in proxied],
    }


def cell(share: Share | None, cosine: Share | None = None) -> str:
    """A share with its interval and, in brackets, cosine's."""
    if share is None or not share.of:
        return "–"
    interval = share.interval
    beside = f" [{percent(cosine.value)}]" if cosine is not None else ""
    return f"{percent(share.value)}{beside} ({percent(interval.low)}–{percent(interval.high)})"


def table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(heading) + " |", "|" + "---|" * len(heading)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def _configuration(found: Evaluation) -> str:
    levels = ", ".join(
        f"{percent(budget)}: {'exact repeats only' if level >= EXACT_ONLY else f'{level:.4f}'}"
        for budget, level in found.levels.items()
    )
    return f"Embedder `{found.embedder}`, verifier `{found.verifier}`. Confidence a hit needs, by budget: {levels}."


def _default_table(sets: Sequence[SetResult]) -> str:
    rows = [
        (
            one.name,
            f"{one.default.found.of:,} / {one.default.accepted.of:,}",
            cell(one.default.found, one.cosine),
            cell(one.default.accepted),
            percent(one.error) if one.error is not None else "–",
            one.note,
        )
        for one in sets
    ]
    return table(("set", "same / different", "found [cosine] (95 %)", "accepted (95 %)", "ECE", "what it is"), rows)


def _budget_table(found: Evaluation) -> str:
    rows = []
    for one in found.sets:
        cells = [_short(made, cosine) for made, cosine in one.budgets.values()]
        rows.append((one.name, *cells))
    return table(("set", *(percent(budget) for budget in found.levels)), rows)


def _short(made: Outcome, cosine: Share | None) -> str:
    beside = f" [{percent(cosine.value)}]" if cosine is not None else ""
    return f"{percent(made.found.value)}{beside} / {percent(made.accepted.value)}"


def _part_table(sets: Sequence[SetResult]) -> str:
    measured = [one for one in sets if one.parts]
    names = list(next(iter(measured[0].parts.values())))
    rows = [
        (
            one.name,
            *(
                " / ".join(percent(made[name].value).removesuffix(" %") for made in one.parts.values())
                for name in names
            ),
        )
        for one in measured
    ]
    return table(("set", *(f"{name}, %" for name in names)), rows)


def _calibration(found: Evaluation) -> str:
    rows = [(f"{one.pairs:,}", percent(one.confidence), percent(one.same)) for one in found.bins]
    told = (
        f"Expected calibration error {percent(found.error)} over all sets, of the pairs that the level decides. The sets are no "
        "mixture of real traffic: most are near misses collected on purpose."
    )
    return told + "\n\n" + table(("pairs", "mean confidence", "labelled the same"), rows)


def _stream(one: StreamResult) -> str:
    told = (
        f"**{one.name}**: {one.texts:,} questions, {one.groups:,} answers, {one.orders} random orders. *Right*: hits on the right "
        "answer of those possible; *wrong*: of all hits. Cosine's level is chosen with hindsight."
    )
    rows = [
        (percent(budget), cell(ours.right), cell(ours.wrong), _cosine_stream(one.cosine[budget]))
        for budget, ours in one.ours.items()
    ]
    return told + "\n\n" + table(("budget", "right", "wrong among hits", "cosine: right / wrong"), rows)


def _cosine_stream(made: StreamOutcome | None) -> str:
    return "–" if made is None else f"{percent(made.right.value)} / {percent(made.wrong.value)}"


def _proxy_table(proxied: Sequence[ProxyResult]) -> str:
    rows = [
        (
            one.name,
            f"{one.proxy.found.of:,} / {one.proxy.accepted.of:,}",
            f"{cell(one.proxy.found)} · {percent(one.offline.found.value)}",
            f"{cell(one.proxy.accepted)} · {percent(one.offline.accepted.value)}",
            f"{one.only_proxy} / {one.only_offline}",
            ", ".join(f"{reason} {count}" for reason, count in one.troubles.items()) or "none",
        )
        for one in proxied
    ]
    heading = (
        "set",
        "same / different",
        "found: proxy · offline",
        "accepted: proxy · offline",
        "hit only there / here",
        "trouble",
    )
    return table(heading, rows)


def _share(share: Share | None) -> dict[str, Any] | None:
    if share is None:
        return None
    return {"count": share.count, "of": share.of, "low": share.interval.low, "high": share.interval.high}


def _bin(one: Bin) -> dict[str, float]:
    return {"pairs": one.pairs, "confidence": one.confidence, "same": one.same}


def _set(one: SetResult) -> dict[str, Any]:
    return {
        "name": one.name,
        "note": one.note,
        "exact": one.exact,
        "found": _share(one.default.found),
        "accepted": _share(one.default.accepted),
        "cosine": _share(one.cosine),
        "budgets": {
            f"{budget:g}": {"found": _share(made.found), "accepted": _share(made.accepted), "cosine": _share(cosine)}
            for budget, (made, cosine) in one.budgets.items()
        },
        "parts": {
            f"{accepted:g}": {name: _share(share) for name, share in made.items()}
            for accepted, made in one.parts.items()
        },
        "calibration_error": one.error,
        "bins": [_bin(part) for part in one.bins],
    }


def _stream_json(one: StreamResult) -> dict[str, Any]:
    def told(made: StreamOutcome | None) -> dict[str, Any] | None:
        return None if made is None else {"right": _share(made.right), "wrong": _share(made.wrong)}

    return {
        "name": one.name,
        "texts": one.texts,
        "groups": one.groups,
        "orders": one.orders,
        "budgets": {
            f"{budget:g}": {"deja": told(ours), "cosine": told(one.cosine[budget])} for budget, ours in one.ours.items()
        },
    }
