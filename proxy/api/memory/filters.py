"""Conditions of a search, as the server's filters and its client's write them.

The client writes `not_eq`, `in_`, `not_in` and `none` where the server knows `ne` and `any` alone, and drops the rest, which finds too
much. Here both are understood, and what is neither is refused.
"""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from proxy.api.memory.times import Moment
from proxy.core.memory.records import Conditions, Labels, Match, MemoryType, Period

MAX_VALUES = 1000
"""Of one list in a filter."""

Values = list[str]


class _Filter(BaseModel):
    """Fields of one filter; `field` names it again in the server's own models."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    field: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _says_something(cls, told: Any) -> Any:
        if isinstance(told, dict) and all(value is None for name, value in told.items() if name != "field"):
            raise ValueError("the filter names no condition; leave it out, or give it one such as `eq`")
        return told

    @field_validator("any_", "in_", "all_", mode="after", check_fields=False)
    @classmethod
    def _is_not_empty(cls, values: Values | None) -> Values | None:
        if values is not None and not 1 <= len(values) <= MAX_VALUES:
            raise ValueError(f"the list must hold 1 to {MAX_VALUES} values")
        return values


class WordFilter(_Filter):
    """A filter on what has one value: a user, a session, a namespace."""

    eq: str | None = None
    ne: str | None = None
    not_eq: str | None = None
    any_: Values | None = Field(None, alias="any")
    in_: Values | None = None
    all_: Values | None = Field(None, alias="all")
    none: Values | None = None
    not_in: Values | None = None
    startswith: str | None = Field(None, min_length=1)

    def match(self) -> Match:
        """What must hold."""
        lists: list[Values | None] = [
            None if self.eq is None else [self.eq],
            self.any_,
            self.in_,
            *([value] for value in self.all_ or ()),
        ]
        given = [set(values) for values in lists if values is not None]
        one_of = tuple(sorted(set.intersection(*given))) if given else None
        return Match(one_of=one_of, none_of=_none_of(self), starts_with=self.startswith)


class TypeFilter(WordFilter):
    """A filter on the memory's type."""

    @model_validator(mode="after")
    def _names_types(self) -> TypeFilter:
        known = [kind.value for kind in MemoryType]
        lists = (self.any_, self.in_, self.all_, self.none, self.not_in)
        named = [self.eq, self.ne, self.not_eq, *(value for values in lists for value in values or ())]
        for value in named:
            if value is not None and value not in known:
                raise ValueError(f"'{value[:64]}' is no memory type; use one of {known}")
        return self


class LabelFilter(_Filter):
    """A filter on what has several values: topics, entities."""

    eq: str | None = None
    ne: str | None = None
    any_: Values | None = Field(None, alias="any")
    in_: Values | None = None
    all_: Values | None = Field(None, alias="all")
    none: Values | None = None
    not_in: Values | None = None

    def labels(self) -> Labels:
        """What must hold."""
        if self.any_ is not None and self.in_ is not None:
            any_of: tuple[str, ...] | None = tuple(value for value in self.any_ if value in self.in_)
        else:
            chosen = self.any_ if self.any_ is not None else self.in_
            any_of = None if chosen is None else tuple(chosen)
        all_of = (*(() if self.eq is None else (self.eq,)), *(self.all_ or ()))
        return Labels(any_of=any_of, all_of=all_of, none_of=_none_of(self))


class TimeFilter(_Filter):
    """A filter on a time. `eq` means the same second, as the server compares."""

    gt: Moment | None = None
    gte: Moment | None = None
    lt: Moment | None = None
    lte: Moment | None = None
    eq: Moment | None = None
    between: list[Moment] | None = Field(None, min_length=2, max_length=2)
    inclusive: Literal["both", "neither", "left", "right"] = "both"

    def period(self) -> Period:
        """What must hold."""
        since, until, after, before = _as_s(self.gte), _as_s(self.lte), _as_s(self.gt), _as_s(self.lt)
        if self.eq is not None:
            second = math.floor(_as_s(self.eq) or 0.0)
            since, before = max(second, _or(since, -math.inf)), min(second + 1, _or(before, math.inf))
        if self.between is not None:
            begin, end = (_as_s(each) for each in self.between)
            if self.inclusive in ("both", "left"):
                since = max(_or(begin, 0.0), _or(since, -math.inf))
            else:
                after = max(_or(begin, 0.0), _or(after, -math.inf))
            if self.inclusive in ("both", "right"):
                until = min(_or(end, 0.0), _or(until, math.inf))
            else:
                before = min(_or(end, 0.0), _or(before, math.inf))
        return Period(since=since, until=until, after=after, before=before)


class Filters(BaseModel):
    """The filters of a search."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    session_id: WordFilter | None = None
    namespace: WordFilter | None = None
    user_id: WordFilter | None = None
    memory_type: TypeFilter | None = None
    topics: LabelFilter | None = None
    entities: LabelFilter | None = None
    created_at: TimeFilter | None = None
    last_accessed: TimeFilter | None = None
    event_date: TimeFilter | None = None

    def conditions(self) -> Conditions:
        """What must hold of a memory."""
        return Conditions(
            session=_match(self.session_id),
            namespace=_match(self.namespace),
            user=_match(self.user_id),
            memory_type=_match(self.memory_type),
            topics=Labels() if self.topics is None else self.topics.labels(),
            entities=Labels() if self.entities is None else self.entities.labels(),
            created=_period(self.created_at),
            accessed=_period(self.last_accessed),
            event=_period(self.event_date),
        )


def _none_of(told: WordFilter | LabelFilter) -> tuple[str, ...]:
    singles = (told.ne, told.not_eq if isinstance(told, WordFilter) else None)
    values = [value for value in singles if value is not None]
    return tuple(dict.fromkeys([*values, *(told.none or ()), *(told.not_in or ())]))


def _match(told: WordFilter | None) -> Match:
    return Match() if told is None else told.match()


def _period(told: TimeFilter | None) -> Period:
    return Period() if told is None else told.period()


def _as_s(moment: Any) -> float | None:
    """A `Moment` holds seconds by the time it is read, whatever its annotation says."""
    return None if moment is None else float(moment)


def _or(value: float | None, default: float) -> float:
    return default if value is None else value
