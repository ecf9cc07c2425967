"""A calibration of one's own: fitted to a person's pairs where that is better, levels certified on pairs that took no part; its file.

Half of the pairs, by texts that hang together, fits; the other half certifies. Inside the fitting half two quarters take turns to find out
whether a fit predicts better than the calibration in use: few pairs seldom do, and then only the levels are the person's own.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from proxy.core.certificates import BUDGETS, levels_for
from proxy.core.confidence import Calibration
from proxy.errors import ConfigError
from proxy.tuning.advice import scored
from proxy.tuning.calibrate import fit, sample, shares
from proxy.tuning.rating import Ratings, rate
from proxy.tuning.scoring import ScoredPair

LEAST_TO_FIT = 200
"""Pairs of each label that a fit of the whole model wants in its half: a dozen weights, ten or more pairs each."""

_SURE = 1e-3  # a probability counts as no surer than this in the log loss, so that one odd label does not decide


@dataclass(frozen=True, slots=True)
class Fitted:
    """A calibration of one's own.

    Attributes:
        calibration: what to write and serve with.
        is_refitted: the model itself is fitted to the pairs, not only its levels.
        certifying: pairs that its levels rest on.
        why: what was chosen and why, a sentence.
    """

    calibration: Calibration
    is_refitted: bool
    certifying: int
    why: str


def calibrate(pairs: Sequence[ScoredPair], base: Calibration) -> Fitted:
    """Make a calibration from scored pairs.

    Args:
        pairs: scored by the models that `base` was made for.
        base: the calibration in use.
    """
    fitting, certifying = halves(pairs)
    chosen, is_refitted, why = _model(fitting, base)
    rated = rate(certifying, chosen)
    rated = rated.only(~rated.is_exact)
    levels = levels_for(scored(rated), BUDGETS)
    spread = shares(list(map(float, rated.confidence)), np.ones(len(rated.pairs))) if rated.pairs else ()
    # The levels hold for what the pairs were rated by; a map of later turns took no part.
    own = replace(chosen, levels=tuple(sorted(levels.items())), shares=spread, follow_up=None)
    return Fitted(own, is_refitted, len(rated.pairs), why)


def halves(pairs: Sequence[ScoredPair], share: float = 0.5) -> tuple[list[ScoredPair], list[ScoredPair]]:
    """Split pairs, always alike, so that texts connected by any chain of pairs stay on one side.

    Args:
        pairs: to split.
        share: of the components, in [0, 1], that goes to the second side; a smaller one takes a part of what a larger one takes.
    """
    from embeddings.training.pairs import Pair, split_by_component

    numbered = [Pair(one.pair.stored, one.pair.asked, one.pair.is_same, str(i)) for i, one in enumerate(pairs)]
    first, second = split_by_component(numbered, share)
    return [pairs[int(one.kind)] for one in first], [pairs[int(one.kind)] for one in second]


def save(calibration: Calibration, path: Path) -> None:
    """Write a calibration as JSON, whole or not at all."""
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(json.dumps(calibration.as_json(), indent=1) + "\n", "utf-8")
    draft.replace(path)


def load(path: Path, *, scale: str) -> Calibration:
    """Read a calibration that `save` wrote, for the models it was made for.

    Args:
        path: of the file.
        scale: of the models in use, as `Calibration.scale` names them.

    Raises:
        ConfigError: there is none, it is garbled, or it was made for other models; says how to mend it.
    """
    mend = "make it anew with `deja tune PAIRS --calibrate`, or unset DEJA_CACHE__CALIBRATION"
    try:
        found = Calibration.from_json(json.loads(path.read_text("utf-8")))
    except OSError as error:
        raise ConfigError(f"The calibration {path} cannot be read ({error.strerror}); {mend}.") from error
    except ValueError as error:
        raise ConfigError(f"The calibration {path} cannot be used ({error}); {mend}.") from error
    if found.scale != scale:
        raise ConfigError(f"The calibration {path} was made for the models {found.scale}, not for {scale}; {mend}.")
    return found


def _model(fitting: Sequence[ScoredPair], base: Calibration) -> tuple[Calibration, bool, str]:
    counts = [sum(one.pair.is_same is label for one in fitting) for label in (True, False)]
    if min(counts) < LEAST_TO_FIT:
        told = f"{counts[0]} same and {counts[1]} different pairs in the fitting half are too few to fit the model"
        return (
            base,
            False,
            f"{told} (it takes {LEAST_TO_FIT} of each): the shipped one is kept, and only its levels are yours.",
        )
    first, second = halves(fitting, 0.75)  # of the components: those up to 0.5 are in the certifying half
    losses = [0.0, 0.0]
    for train, test in ((first, second), (second, first)):
        if not _has_both(train) or not _has_both(test):
            return (
                base,
                False,
                "The texts hang together too much to be split: the shipped model is kept, and only its levels are yours.",
            )
        losses[0] += _loss(rate(test, base))
        losses[1] += _loss(rate(test, _fit(train, base)))
    told = f"log loss {losses[1] / len(fitting):.3f} after fitting, {losses[0] / len(fitting):.3f} as shipped, on pairs neither saw"
    if losses[1] >= losses[0]:
        return (
            base,
            False,
            f"A fit predicts your labels no better ({told}): the shipped model is kept, and only its levels are yours.",
        )
    return (
        _fit(fitting, base),
        True,
        f"The model was fitted to your pairs, since that predicts your labels better ({told}).",
    )


def _fit(pairs: Sequence[ScoredPair], base: Calibration) -> Calibration:
    names = tuple(base.objections)
    weight = [1.0] * len(pairs)
    return fit(sample(pairs, names, weight, uses_cosine=base.uses_cosine), names, scale=base.scale)


def _has_both(pairs: Sequence[ScoredPair]) -> bool:
    return (
        len({one.pair.is_same for one in pairs if one.logit is not None and one.logit > -math.inf and one.gate is None})
        == 2
    )


def _loss(rated: Ratings) -> float:
    """Sum of the log loss over the pairs that the confidence decides."""
    some = rated.only(rated.is_open)
    chance = np.clip(some.confidence, _SURE, 1 - _SURE)
    return float(-np.log(np.where(some.is_same, chance, 1 - chance)).sum())
