"""What `deja eval` measures on: every file of a data folder as labelled pairs, by the shape of its rows.

    {"a", "b", "same", "kind"?}          pairs
    {"text", "group"}                    near neighbours by the embedder, the same where the group is; the group "oos" is none
    {"text"}                             the same with every text a group of its own: any hit is wrong
    {"text", "slots"}                    the same wording with another value: different
    {"text", "group", "entity"}          the same request for the same or another entity
    conversations                        see `tuning.conversations`

Of a file that the verifier was trained on, only what its recipe kept aside is taken (`embeddings.training.recipe`): each set says so. A
file that the recipe does not know is taken whole.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embeddings.training import recipe
from embeddings.training.authored_groups import is_follow_up
from embeddings.training.pairs import Pair
from proxy.errors import ConfigError
from proxy.tuning.scoring import LabelledPair

AUTHORED = "authored"
"""Name of the sets that need no data folder."""

_SUFFIX = ".jsonl.gz"
_SEED = 7  # of what is drawn where there is too much; always the same pairs
_MOST_TEXTS = 3_000  # of a file of groups: neighbours of more take minutes, and a sample of pairs is drawn anyway

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class EvalSet:
    """Labelled pairs to report as one row.

    Attributes:
        name: of the row.
        pairs: at most as many as were asked for.
        note: what the pairs are and what of their file was trained on.
    """

    name: str
    pairs: tuple[LabelledPair, ...]
    note: str


def files(data_dir: Path, only: Iterable[str] = ()) -> dict[str, Path]:
    """List the files of a folder by name without the suffix.

    Args:
        data_dir: holds `NAME.jsonl.gz` or `NAME.jsonl`.
        only: names, none for all.

    Raises:
        ConfigError: there is no such folder, nothing in it, or a name that is not there.
    """
    paths = sorted([*data_dir.glob(f"*{_SUFFIX}"), *data_dir.glob("*.jsonl")])
    found = {path.name.removesuffix(".gz").removesuffix(".jsonl"): path for path in paths}
    if not found:
        raise ConfigError(f"{data_dir} holds no .jsonl or .jsonl.gz files; name a folder of labelled data")
    if missing := set(only) - found.keys():
        raise ConfigError(f"{data_dir} has no {', '.join(sorted(missing))}; it has {', '.join(found)}")
    return {name: found[name] for name in only} if only else found


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read JSON lines, gzipped or not.

    Raises:
        ConfigError: a line is no JSON object; names it.
    """
    rows = []
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
            except ValueError as error:
                raise ConfigError(f"{path}, line {number}: this is not JSON") from error
            if not isinstance(row, dict):
                raise ConfigError(f"{path}, line {number}: expected an object")
            rows.append(row)
    return rows


def sets_of(name: str, path: Path, embed: recipe.Embed, most: int) -> Iterator[EvalSet]:
    """Give the sets of a file; none for a file that was trained on whole, or that holds conversations.

    Args:
        name: of the file, without suffix.
        path: of the file.
        embed: finds near neighbours.
        most: pairs of a set.

    Raises:
        ConfigError: the file is not as its name or its first row promises.
    """
    rows = read_rows(path)
    rng = random.Random(_SEED)  # noqa: S311  (repeatable, not secret)
    for title, note, pairs in _made(name, path, rows, embed):
        kept = pairs if len(pairs) <= most else rng.sample(pairs, most)
        if kept:
            said = note if len(kept) == len(pairs) else f"{note}; {len(kept):,} of {len(pairs):,} pairs"
            yield EvalSet(title, tuple(_labelled(pair) for pair in kept), said)


def authored_sets(most: int) -> Iterator[EvalSet]:
    """Give the sets of questions that come with this repository, by field: what the training kept aside of them."""
    fields: dict[str, list[Pair]] = {}
    for pair in recipe.labelled(Path(), AUTHORED)[1]:
        fields.setdefault(pair.kind.split()[0].replace("/", ", "), []).append(pair)
    for title, pairs in sorted(fields.items()):
        kept = pairs if len(pairs) <= most else random.Random(_SEED).sample(pairs, most)  # noqa: S311  (repeatable, not secret)
        yield EvalSet(
            title, tuple(_labelled(pair) for pair in kept), "written for Deja by a language model; groups kept aside"
        )


def is_conversation(row: Mapping[str, Any]) -> bool:
    """Whether a row is a conversation and no pair or text."""
    return "turns" in row or "follow_up" in row


def near(rows: Rows, embed: recipe.Embed) -> list[Pair]:
    """Pair texts with their nearest ones; a row without a group, or of the group "oos", is a group of its own."""
    groups = {row["text"]: _group(row, at) for at, row in enumerate(rows)}
    some = list(groups.items())
    if len(some) > _MOST_TEXTS:
        some = random.Random(_SEED).sample(some, _MOST_TEXTS)  # noqa: S311  (repeatable, not secret)
    found = recipe.neighbour_pairs([text for text, _ in some], [group for _, group in some], embed)
    return [pair for pair, _ in found]


def _group(row: Mapping[str, Any], at: int) -> str:
    group = row.get("group")
    return f"alone {at}" if group in (None, "oos") else f"group {group}"


def _made(name: str, path: Path, rows: Rows, embed: recipe.Embed) -> list[tuple[str, str, list[Pair]]]:
    if name in _KNOWN and path.suffix != ".gz":
        raise ConfigError(
            f"{path} has the name of a file that was trained on, in part: gzip it ({name}{_SUFFIX}), or rename it."
        )
    try:
        return list(_KNOWN[name](path.parent, rows, embed) if name in _KNOWN else _by_shape(name, rows, embed))
    except KeyError as error:
        raise ConfigError(f"{path}: a row lacks {error}; rows of one file have the same fields.") from error


Made = Iterator[tuple[str, str, list[Pair]]]
"""Title, note, pairs."""


def _by_shape(name: str, rows: Rows, embed: recipe.Embed) -> Made:
    first = rows[0] if rows else {}
    if {"a", "b", "same"} <= first.keys():
        yield name, "pairs, not trained on", [_plain(row) for row in rows]
    elif "text" in first and not is_conversation(first):
        what = "near neighbours" if "group" in first else "near neighbours, all different"
        yield name, f"{what}, not trained on", near(rows, embed)


def _plain(row: Mapping[str, Any]) -> Pair:
    return Pair(row["a"], row["b"], bool(row["same"]), str(row.get("kind", "all")))


def _aside(title: str, source: str, note: str) -> Callable[[Path, Rows, recipe.Embed], Made]:
    def made(data_dir: Path, _rows: Rows, _embed: recipe.Embed) -> Made:
        yield title, note, recipe.labelled_aside(data_dir, source)

    return made


def _parts(source: str, parts: Mapping[str, tuple[str, ...]], note: str) -> Callable[[Path, Rows, recipe.Embed], Made]:
    """Split what was kept aside of a source by the ends of its kinds."""

    def made(data_dir: Path, _rows: Rows, _embed: recipe.Embed) -> Made:
        pairs = recipe.labelled_aside(data_dir, source)
        for title, ends in parts.items():
            yield title, note, [pair for pair in pairs if pair.kind.endswith(ends)]

    return made


def _trained(_data_dir: Path, _rows: Rows, _embed: recipe.Embed) -> Made:
    yield from ()


def _banking(_data_dir: Path, rows: Rows, embed: recipe.Embed) -> Made:
    for is_new, title in ((False, "banking77_test, intents trained on"), (True, "banking77_test, new intents")):
        some = [row for row in rows if recipe.is_held_out_group(row["group"]) is is_new]
        yield title, "near neighbours; the same intent, which is not always the same answer", near(some, embed)


def _clinc(_data_dir: Path, rows: Rows, embed: recipe.Embed) -> Made:
    some = [row for row in rows if row.get("part") in ("test", "oos_test")]
    yield "clinc150 test", "near neighbours; the same intent, which is not always the same answer", near(some, embed)


def _support(_data_dir: Path, rows: Rows, _embed: recipe.Embed) -> Made:
    some = [dict(row) for row in rows if recipe.is_held_out_group(row["group"])]
    rng = random.Random(_SEED)  # noqa: S311  (repeatable, not secret)
    yield "support, new intents", "same intent and entity, or not; intents kept aside", recipe.support_pairs(some, rng)


def _restaurant(_data_dir: Path, rows: Rows, _embed: recipe.Embed) -> Made:
    some = [dict(row) for row in rows if recipe.is_held_out_group(row["text"])]
    rng = random.Random(_SEED)  # noqa: S311  (repeatable, not secret)
    yield (
        "restaurant, another slot",
        "one value changed: all different; texts kept aside",
        recipe.restaurant_pairs(some, rng),
    )


_KNOWN: Mapping[str, Callable[[Path, Rows, recipe.Embed], Made]] = {
    "qqp_train": _trained,
    "qqp_dev": _aside("qqp_dev", "qqp", "Quora; no component trained on"),
    "checklist_templates": _aside("checklist_templates", "checklist_templates", "kinds trained on, components kept aside"),
    "checklist_perturbed": _aside("checklist_perturbed", "checklist_perturbed", "kinds trained on, components kept aside"),
    "pawsx_en": _aside("pawsx_en", "pawsx", "word swaps; components kept aside"),
    "rqe_medical": _parts(
        "rqe",
        {"rqe_medical, natural": ("rqe_test",), "rqe_medical, as trained on": ("rqe_train",)},
        "medical; components kept aside",
    ),
    "statements": _parts(
        "statements",
        {"statements, SICK": ("entailment", "neutral", "contradiction"), "statements, news": ("apt", "parade"), "chat lines": ("chat",)},
        "components kept aside; of chat lines none trained on",
    ),
    "banking77_train": _trained,
    "banking77_test": _banking,
    "clinc150": _clinc,
    "support_utterances": _support,
    "restaurant_slots": _restaurant,
}  # fmt: skip
"""Files that the training recipe knows, by name: what of them may be measured on."""


def _labelled(pair: Pair) -> LabelledPair:
    return LabelledPair(pair.stored, pair.asked, pair.is_same, pair.kind, is_follow_up=is_follow_up(pair.kind))
