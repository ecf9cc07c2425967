"""The sets that the recipe kept aside, as labelled pairs to measure on."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from embeddings.training import recipe
from embeddings.training.pairs import Pair, read_pairs, read_rows

OTHER_TURNS = "cast_conversations, other turns"
"""Name of the set of what else people asked in the same conversation: later turns that share no answer, as they come."""

_OTHER_TURNS = 2  # of a conversation, the nearest to each turn
_MOST_TEXTS = 3_000  # of a file of groups
_SEED = 7


def sets(data_dir: Path, embed: recipe.Embed) -> dict[str, list[Pair]]:
    """Read all sets, by name: what a run with `is_whole` did not see.

    In sets made of groups the pairs are near neighbours by the embedder, the label says whether the group is the same.
    """
    found = {"qqp_dev": read_pairs(data_dir, "qqp_dev")}
    for pair in recipe.labelled(data_dir, "authored")[1]:
        found.setdefault(pair.kind.split()[0].replace("/", ", "), []).append(pair)
    for source in ("checklist_templates", "checklist_perturbed", "pawsx"):
        found[source] = recipe.labelled_aside(data_dir, source)
    statements = recipe.labelled(data_dir, "statements")[1]
    found["sick"] = [pair for pair in statements if "/sick" in pair.kind]
    found["apt_parade"] = [pair for pair in statements if pair.kind.endswith(("apt", "parade"))]
    found["chat"] = [pair for pair in statements if pair.kind.endswith("chat")]
    medical = recipe.labelled(data_dir, "rqe")[1]
    found["rqe_test"] = [pair for pair in medical if pair.kind.endswith("rqe_test")]
    found["rqe_train, aside"] = [pair for pair in medical if not pair.kind.endswith("rqe_test")]
    found["mrpc"] = read_pairs(data_dir, "mrpc")
    found["askubuntu_long"] = read_pairs(data_dir, "askubuntu_long")
    banking = read_rows(data_dir, "banking77_test")
    unseen = [recipe.is_held_out_group(row["group"]) for row in banking]
    found["banking77_test, intents trained on"] = _near(
        [row for row, new in zip(banking, unseen, strict=True) if not new], embed
    )
    found["banking77_test, new intents"] = _near([row for row, new in zip(banking, unseen, strict=True) if new], embed)
    found["osschat"] = _near(read_rows(data_dir, "osschat_groups"), embed)
    found["clinc150 test"] = _near([row for row in read_rows(data_dir, "clinc150") if row["part"] == "test"], embed)
    prompts = read_rows(data_dir, "arena_prompts")
    found[OTHER_TURNS] = _other_turns(read_rows(data_dir, "cast_conversations"), embed)
    found["arena"] = _near([row | {"group": at} for at, row in enumerate(prompts)], embed)
    rng = random.Random(_SEED)  # noqa: S311  (repeatable, not secret)
    support = [row for row in read_rows(data_dir, "support_utterances") if recipe.is_held_out_group(row["group"])]
    found["support, new intents"] = recipe.support_pairs(support, rng)
    tables = [row for row in read_rows(data_dir, "restaurant_slots") if recipe.is_held_out_group(row["text"])]
    found["restaurant, another slot"] = recipe.restaurant_pairs(tables, rng)
    return found


def _other_turns(conversations: Sequence[dict[str, Any]], embed: recipe.Embed) -> list[Pair]:
    """Pair each later turn with the nearest others of its conversation; all are different."""
    found: set[tuple[str, str]] = set()
    for conversation in conversations:
        turns = sorted({turn["raw"].strip() for turn in conversation["turns"][1:]})
        if len(turns) > _OTHER_TURNS:
            vectors = embed(turns)
            cosines = vectors @ vectors.T
            for at, turn in enumerate(turns):
                nearest = [int(i) for i in np.argsort(-cosines[at]) if i != at][:_OTHER_TURNS]
                found.update((min(turn, turns[i]), max(turn, turns[i])) for i in nearest)
    return [Pair(one, other, False, OTHER_TURNS) for one, other in sorted(found)]


def _near(rows: Sequence[dict[str, Any]], embed: recipe.Embed) -> list[Pair]:
    rng = random.Random(_SEED)  # noqa: S311  (repeatable, not secret)
    some = list({row["text"]: str(row["group"]) for row in rows}.items())
    some = rng.sample(some, min(_MOST_TEXTS, len(some)))
    pairs = recipe.neighbour_pairs([text for text, _ in some], [group for _, group in some], embed)
    return [pair for pair, _ in pairs]
