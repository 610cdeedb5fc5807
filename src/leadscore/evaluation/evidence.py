"""What stands beside a comparison: equal capacity, whether chances can be believed, what a split flatters."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from leadscore.evaluation.compare import Comparison
from leadscore.evaluation.head_to_head import HeadToHead, head_to_head
from leadscore.evaluation.metrics import METRICS, Floats
from leadscore.evaluation.reliability import Reliability, TopPromise, reliability, top_promise


@dataclass(frozen=True, slots=True)
class Optimism:
    """What a random split would have promised, beside what came forward in time.

    Parameters
    ----------
    model : str
    random, forward : float
        AUC.
    """

    model: str
    random: float
    forward: float

    @property
    def sentence(self) -> str:
        """Both figures, in words."""
        more = self.random - self.forward
        return (
            f"optimism: a random split would have promised an AUC of {self.random:.3f} for {self.model}; "
            f"forward in time it is {self.forward:.3f} ({-more:+.3f})"
        )


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What stands beside a comparison.

    Parameters
    ----------
    head_to_head : HeadToHead
        Every model against the baseline at the capacity of the team.
    reliability : Reliability
        Of the chosen model's chances, on rows that it had not seen.
    top : TopPromise
        The same of its best tenth.
    within : mapping of model to float
        Mean AUC within the folds: pooled over folds, part of an AUC only follows the rate from one to the
        next.
    optimism : Optimism or None
    """

    head_to_head: HeadToHead
    reliability: Reliability
    top: TopPromise
    within: Mapping[str, float]
    optimism: Optimism | None

    @property
    def sentences(self) -> tuple[str, ...]:
        """What to tell a person."""
        inside = ", ".join(f"{name} {auc:.3f}" for name, auc in self.within.items())
        told = (
            *self.head_to_head.sentences,
            self.reliability.sentence,
            self.top.sentence,
            f"mean AUC within the periods or folds, where no change of the rate helps: {inside}",
        )
        return told if self.optimism is None else (*told, self.optimism.sentence)

    def to_dict(self) -> dict[str, Any]:
        """Give everything as plain values for JSON."""
        optimism = self.optimism
        return {
            "head_to_head": self.head_to_head.to_dict(),
            "reliability": self.reliability.to_dict(),
            "top": self.top.to_dict(),
            "within": {name: None if math.isnan(auc) else auc for name, auc in self.within.items()},
            "optimism": None
            if optimism is None
            else {"model": optimism.model, "random": optimism.random, "forward": optimism.forward},
        }


def evidence(
    comparison: Comparison,
    *,
    group: ArrayLike,
    period: NDArray[np.int64] | None = None,
    capacity: float | None = None,
    share: float | None = None,
    value: float | None = None,
    cost: float | None = None,
    optimism: Optimism | None = None,
    seed: int = 0,
) -> Evidence:
    """Put together what stands beside a comparison.

    Parameters
    ----------
    comparison : Comparison
    group : array
        One code for each row of X, of which the predictions name some.
    period : array, optional
        One for each row of X: when the capacity is there anew.
    capacity, share, value, cost
        As for `head_to_head`.
    optimism : Optimism, optional
    seed : int

    Returns
    -------
    Evidence
    """
    seen = comparison.predictions
    rows = seen["row"].to_numpy()
    lead, y = np.asarray(group)[rows], seen["y"].to_numpy(dtype=np.float64)
    chances: dict[str, Floats] = {name: seen[name].to_numpy() for name in comparison.models}
    chosen = chances[comparison.chosen]
    return Evidence(
        head_to_head=head_to_head(
            y,
            chances,
            baseline=comparison.baseline,
            capacity=capacity,
            share=share,
            period=None if period is None else period[rows],
            group=lead,
            value=value,
            cost=cost,
            seed=seed,
        ),
        reliability=reliability(y, chosen, group=lead, seed=seed),
        top=top_promise(y, chosen, group=lead),
        within={name: _within(y, p, seen["fold"].to_numpy()) for name, p in chances.items()},
        optimism=optimism,
    )


def _within(y: Floats, p: Floats, fold: NDArray[Any]) -> float:
    """Average the AUC over the folds in which it is defined."""
    parts = [fold == name for name in np.unique(fold)]
    found = [METRICS["roc_auc"](y[part], p[part]) for part in parts if 0 < y[part].sum() < part.sum()]
    return float(np.mean(found)) if found else float("nan")
