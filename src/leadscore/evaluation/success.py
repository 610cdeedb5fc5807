"""MadKudu's published rule for a model that works, held against a ranking."""

import math
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike

from leadscore.errors import DataError, UsageError, explain
from leadscore.evaluation.metrics import Floats
from leadscore.evaluation.reliability import both_outcomes

_FLAGGED: Final = (0.15, 0.35)
_CAUGHT: Final = 0.60
_RATIO: Final = 10.0
_VERY_GOOD: Final = 0.10
_LOW: Final = 0.40
_CLOSE: Final = 1e-9  # shares that are sums of fractions


@dataclass(frozen=True, slots=True)
class SuccessRule:
    """How one ranking stands to MadKudu's published rule for a model that works.

    Parameters
    ----------
    flagged : float
        Share of the leads that are flagged: the smallest between 15 and 35 % that catches 60 % of the
        conversions, or 35 % where none does.
    caught : float
        Share of the conversions among the flagged leads.
    ratio : float
        Rate of the best tenth over the rate of the lowest 40 %; infinite where nobody converted there.
    passed : bool
    sentence : str
    """

    flagged: float
    caught: float
    ratio: float
    passed: bool
    sentence: str

    def to_dict(self) -> dict[str, Any]:
        """Give the rule as plain values for JSON; an infinite ratio is None."""
        return asdict(self) | {"ratio": self.ratio if math.isfinite(self.ratio) else None}


def success_rule(y: ArrayLike, p: ArrayLike) -> SuccessRule:
    """Hold a ranking against the rule that MadKudu publishes for a model one would be satisfied with.

    The rule: 15 to 35 % of the leads are flagged (very good or good), they hold at least 60 % of the
    conversions, and the very good convert at least 10 times as often as the low
    (https://help.madkudu.com/docs/recall-and-precision-how-is-the-performance-of-a-prediction-model-measured).
    The sizes of those bands are the ones that MadKudu asks its users to aim at: 10 % very good, 20 % good,
    30 % medium, 40 % low (https://help.madkudu.com/docs/
    how-to-change-the-relation-between-customer-fit-score-and-customer-fit-segment-in-a-point-based-model).
    Leads level at the edge of a band belong to it in equal shares.

    Parameters
    ----------
    y : array of n outcomes, 0 or 1
        One a lead.
    p : array of n finite scores
        Only their order matters.

    Returns
    -------
    SuccessRule

    Raises
    ------
    DataError
        An outcome is not 0 or 1, nobody or everybody converted, or a score is missing.

    Examples
    --------
    >>> y = np.repeat([1, 0, 1, 0], [18, 12, 2, 68])
    >>> found = success_rule(y, np.repeat([0.6, 0.1], [30, 70]))
    >>> found.passed, round(found.flagged, 3), round(found.ratio, 3)
    (True, 0.2, 21.0)
    """
    outcome = both_outcomes(y)
    score = finite_scores("score", p, len(outcome))
    order = np.argsort(-score, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(score[order]) != 0, True))
    share = np.append(0.0, (ends + 1) / len(order))
    reached = np.append(0.0, np.cumsum(outcome[order])[ends] / outcome.sum())
    first = int(np.searchsorted(reached, _CAUGHT - _CLOSE))  # the run of equal scores that reaches 60 %
    within = (_CAUGHT - reached[first - 1]) / (reached[first] - reached[first - 1])
    flagged = float(np.clip(share[first - 1] + within * (share[first] - share[first - 1]), *_FLAGGED))
    caught, top, high = (float(each) for each in np.interp((flagged, _VERY_GOOD, 1 - _LOW), share, reached))
    low = 1 - high
    ratio = (top / _VERY_GOOD) / (low / _LOW) if low > _CLOSE else math.inf
    enough, apart = caught >= _CAUGHT - _CLOSE, ratio >= _RATIO - _CLOSE
    missed = [] if enough else ["60 % should be caught within 35 %"]
    missed += [] if apart else ["that should be 10 times"]
    times = f"{ratio:.1f} times as often as" if math.isfinite(ratio) else "where nobody does among"
    said = (
        f"flagging {100 * flagged:.0f} % of the leads catches {100 * caught:.0f} % of the conversions, "
        f"and the best tenth converts {times} the lowest 40 %"
    )
    why = f" ({'; '.join(missed)})" if missed else ""
    verdict = f"{'misses' if missed else 'passes'} the 15-35 / 60 / 10x rule: {said}{why}"
    return SuccessRule(flagged, caught, ratio, not missed, verdict)


def finite_scores(what: str, values: ArrayLike, rows: int) -> Floats:
    """Read one finite number a row; `what` it is goes into the message.

    Raises
    ------
    UsageError
        There is not one a row.
    DataError
        One is missing or infinite.

    Examples
    --------
    >>> finite_scores("score", [1, 2], 2)
    array([1., 2.])
    """
    array = np.asarray(values, dtype=np.float64)
    if array.shape != (rows,):
        found = f"an array of shape {array.shape}"
        raise UsageError(explain(f"one {what} for each of the {rows} outcomes", found, "pass equal lengths"))
    bad = np.flatnonzero(~np.isfinite(array))
    if len(bad):
        found = f"{len(bad)} rows without one, the first is row {bad[0]}"
        raise DataError(explain(f"a finite {what} in every row", found, "look at where it comes from"))
    return array
