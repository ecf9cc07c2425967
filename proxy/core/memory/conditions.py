"""Which memories are meant: the rule in plain Python, and the same as a query of RediSearch.

`fulfils` is the rule. `query` writes it so that the index finds the same memories; words go into it as digests alone, so nothing that a
caller writes is ever read as syntax. A condition "begins with" is resolved to the names that do, before (`resolved`): RediSearch looks at
no more than 200 of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from proxy.core.memory import keys
from proxy.core.memory.keys import Kind
from proxy.core.memory.records import Conditions, Labels, Match, Memory, MemoryType, Owner, Period

ID = "id"
Prefixes = tuple[tuple[str, str], ...]


def fulfils(memory: Memory, conditions: Conditions) -> bool:
    """Whether a memory fulfils all conditions; a period is never fulfilled by a time that is not known."""
    return (
        _matches(memory.memory_id, conditions.memory_id)
        and _matches(memory.memory_type.value, conditions.memory_type)
        and _matches(memory.user, conditions.user)
        and _matches(memory.session, conditions.session)
        and _matches(memory.namespace, conditions.namespace)
        and conditions.owner in (None, Owner(memory.user, memory.namespace))
        and _labelled(memory.topics, conditions.topics)
        and _labelled(memory.entities, conditions.entities)
        and _within(memory.created_at, conditions.created)
        and _within(memory.accessed_at, conditions.accessed)
        and _within(memory.event_at, conditions.event)
    )


def _matches(value: str | None, match: Match) -> bool:
    if match.one_of is not None and value not in match.one_of:
        return False
    if match.starts_with is not None and (value is None or not value.startswith(match.starts_with)):
        return False
    return value not in match.none_of


def _labelled(labels: Sequence[str], wanted: Labels) -> bool:
    has = {label.casefold() for label in labels}
    if wanted.any_of is not None and not any(label.casefold() in has for label in wanted.any_of):
        return False
    return all(label.casefold() in has for label in wanted.all_of) and not any(
        label.casefold() in has for label in wanted.none_of
    )


def _within(at: float | None, period: Period) -> bool:
    if period == Period():
        return True
    if at is None:
        return False
    return (
        (period.since is None or at >= period.since)
        and (period.until is None or at <= period.until)
        and (period.after is None or at > period.after)
        and (period.before is None or at < period.before)
    )


def prefixes(conditions: Conditions) -> Prefixes:
    """(kind, prefix) of each condition "begins with" whose names have to be looked up."""
    return tuple(
        (kind, match.starts_with)
        for kind, match in _named(conditions).items()
        if match.starts_with is not None and kind != "type"
    )


def resolved(conditions: Conditions, names: Mapping[str, Sequence[str]]) -> Conditions:
    """The conditions with each "begins with" turned into "is one of".

    Args:
        conditions: as asked for.
        names: kind -> every name there is that begins so; for each of `prefixes`.
    """
    known = {**names, "type": [each.value for each in MemoryType]}

    def settle(kind: str, match: Match) -> Match:
        if match.starts_with is None:
            return match
        found = [name for name in known[kind] if name.startswith(match.starts_with)]
        kept = found if match.one_of is None else [name for name in found if name in match.one_of]
        return replace(match, one_of=tuple(kept), starts_with=None)

    matches = {kind: settle(kind, match) for kind, match in _named(conditions).items()}
    return replace(
        conditions,
        memory_id=matches[ID],
        memory_type=matches["type"],
        user=matches[Kind.USER],
        session=matches[Kind.SESSION],
        namespace=matches[Kind.NAMESPACE],
    )


def query(tenant: str, conditions: Conditions, *, as_of: float | None, now: float) -> str | None:
    """The conditions as a filter of RediSearch, dialect 2; None where nothing can fulfil them.

    Args:
        tenant: whose memories; part of every filter.
        conditions: resolved, see `resolved`.
        as_of: unix seconds at which the memories held; None for those that hold now.
        now: unix seconds.
    """
    clauses: list[str] | None = [f"@tag_tenant:{{{keys.tag(tenant, 'tenant', tenant)}}}"]
    for kind, match in _named(conditions).items():
        clauses = _add_match(clauses, kind, match, partial(keys.tag, tenant, kind))
    for kind, labels in (("topics", conditions.topics), ("entities", conditions.entities)):
        clauses = _add_labels(clauses, kind, labels, partial(keys.label_tag, tenant, kind))
    if clauses is None:
        return None
    if (owner := conditions.owner) is not None:
        clauses = [
            *clauses,
            _any("scope", [keys.owner_tag(tenant, owner.user, owner.namespace, each) for each in MemoryType]),
        ]
    for field, period in (
        ("at_created", conditions.created), ("at_accessed", conditions.accessed), ("at_event", conditions.event),
    ):  # fmt: skip
        clauses += _range(field, period)
    return " ".join([*clauses, *_validity(as_of, now)])


def _validity(as_of: float | None, now: float) -> list[str]:
    held = f"(@tag_holds:{{{keys.HOLDS}}} | @at_invalid:[({_number(now if as_of is None else as_of)} +inf])"
    return [held] if as_of is None else [f"@at_valid:[-inf {_number(as_of)}]", held]


def _add_match(clauses: list[str] | None, kind: str, match: Match, tag: Callable[[str], str]) -> list[str] | None:
    if clauses is None or match.one_of == ():
        return None
    if match.one_of is not None:
        clauses = [*clauses, _any(kind, [tag(value) for value in match.one_of])]
    if match.none_of:
        clauses = [*clauses, f"-{_any(kind, [tag(value) for value in match.none_of])}"]
    return clauses


def _add_labels(clauses: list[str] | None, kind: str, labels: Labels, tag: Callable[[str], str]) -> list[str] | None:
    if clauses is None or labels.any_of == ():
        return None
    if labels.any_of is not None:
        clauses = [*clauses, _any(kind, [tag(value) for value in labels.any_of])]
    clauses = [*clauses, *(_any(kind, [tag(value)]) for value in labels.all_of)]
    if labels.none_of:
        clauses = [*clauses, f"-{_any(kind, [tag(value) for value in labels.none_of])}"]
    return clauses


def _any(kind: str, tags: Sequence[str]) -> str:
    return f"@tag_{kind}:{{{'|'.join(tags)}}}"


def _range(field: str, period: Period) -> list[str]:
    """Every bound as a range of its own: the index takes the narrowest."""
    found = []
    if period.since is not None:
        found.append(f"@{field}:[{_number(period.since)} +inf]")
    if period.after is not None:
        found.append(f"@{field}:[({_number(period.after)} +inf]")
    if period.until is not None:
        found.append(f"@{field}:[-inf {_number(period.until)}]")
    if period.before is not None:
        found.append(f"@{field}:[-inf ({_number(period.before)}]")
    return found


def _number(value: float) -> str:
    """A number that reads back as the same one; without an exponent, which a query cannot hold."""
    if math.isinf(value):
        return "+inf" if value > 0 else "-inf"
    shown = repr(float(value))
    return shown if "e" not in shown else f"{value:.20f}"


def _named(conditions: Conditions) -> dict[str, Match]:
    return {
        ID: conditions.memory_id,
        "type": conditions.memory_type,
        Kind.USER.value: conditions.user,
        Kind.SESSION.value: conditions.session,
        Kind.NAMESPACE.value: conditions.namespace,
    }
