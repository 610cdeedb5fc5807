"""Which leads a draft policy moves from one stage to another, and why."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from leadscore.errors import DataError, explain
from leadscore.models.calibration import Scale
from leadscore.models.matrix import Column, Floats
from leadscore.policy.policy import STAGES, Policy
from leadscore.policy.staging import Ints, Stages, Standing, deciding, stage_reasons, stages


@dataclass(frozen=True, slots=True)
class StageChange:
    """How many leads a stage has before and after, and how many enter and leave it.

    Always ``before + entering - leaving == after``.

    Parameters
    ----------
    stage : str
        One of `STAGES`.
    before, after, entering, leaving : int
        Leads.
    """

    stage: str
    before: int
    after: int
    entering: int
    leaving: int


@dataclass(frozen=True, slots=True)
class Move:
    """One lead whose stage the draft changes.

    Parameters
    ----------
    lead_id : int or str
    probability : float
    before, after : str
        Stages under the policy in force and under the draft.
    why : str
        What decides under the draft, in a sentence, and what decided before where that was a rule.
    """

    lead_id: int | str
    probability: float
    before: str
    after: str
    why: str


def changed(before: Stages, after: Stages) -> tuple[StageChange, ...]:
    """Count the leads in each stage before and after, and those that enter and leave it.

    Examples
    --------
    >>> print(changed(np.array(["mql", "nurture"], object), np.array(["mql", "mql"], object))[2])
    StageChange(stage='mql', before=1, after=2, entering=1, leaving=0)
    """
    moved = before != after
    return tuple(
        StageChange(
            stage=stage,
            before=int((before == stage).sum()),
            after=int((after == stage).sum()),
            entering=int((moved & (after == stage)).sum()),
            leaving=int((moved & (before == stage)).sum()),
        )
        for stage in STAGES
    )


def counts(
    draft: Policy,
    in_force: Policy,
    probability: Floats,
    M: Floats,
    columns: Sequence[Column],
    standing: Standing | None = None,
) -> tuple[StageChange, ...]:
    """Count today's leads in each stage under both policies; parameters as in `moves`.

    Once the draft is in force, scoring the same leads gives the counts `after`.

    Examples
    --------
    >>> p = np.array([0.05, 0.2, 0.4])
    >>> [each.after for each in counts(Policy(0.1, 0.3), Policy(0.3, 0.3), p, np.empty((3, 0)), ())]
    [0, 1, 1, 1]
    """
    before, after = (stages(policy, probability, M, columns, standing) for policy in (in_force, draft))
    return changed(before, after)


def moves(
    draft: Policy,
    in_force: Policy,
    lead_id: NDArray[Any] | Sequence[Any],
    probability: Floats,
    M: Floats,
    columns: Sequence[Column],
    standing: Standing | None = None,
    *,
    scale: Scale | None = None,
) -> tuple[Move, ...]:
    """Name today's leads whose stage a draft changes, and say why.

    Parameters
    ----------
    draft, in_force : Policy
    lead_id : array of shape (n,)
    probability : array of shape (n,)
        Scored now.
    M : array of shape (n, p)
        As `to_matrix` lays it out; rules and segments look at it.
    columns : sequence of Column
        What the columns of M are.
    standing : Standing, optional
        Where the leads stood before, for hysteresis and the cool-down.
    scale : Scale, optional
        Speak of scores in place of chances, where chances are not to be told.

    Returns
    -------
    tuple of Move
        By the stage after, highest first, then the stage before, lowest first, then the chance.

    Raises
    ------
    DataError
        A rule or the segment is about a column that the model does not have, or the leads are not as many
        as their chances.

    Examples
    --------
    >>> (move,) = moves(Policy(0.1, 0.3), Policy(0.2, 0.3), [7, 8], [0.14, 0.25], np.empty((2, 0)), ())
    >>> move.lead_id, move.before, move.after
    (7, 'nurture', 'mql')
    >>> move.why
    'MQL: the chance of 14 % is at or above the line of 10 %; sales ready begins at 30 %.'
    """
    chances, ids = np.asarray(probability, dtype=np.float64), np.asarray(lead_id)
    if len(ids) != len(chances):
        found = f"{len(ids):,} leads and {len(chances):,} chances"
        raise DataError(explain("a chance for each lead", found, "give one value a lead"))
    before, after = (stages(policy, chances, M, columns, standing) for policy in (in_force, draft))
    rows = np.flatnonzero(before != after)
    old, new = (_places(staged[rows]) for staged in (before, after))
    rows = rows[np.lexsort((-chances[rows], old, -new))]
    some = None if standing is None else Standing(standing.stage[rows], standing.recycled[rows])
    why = stage_reasons(draft, chances[rows], M[rows], columns, some, scale=scale)
    ruled = np.flatnonzero(deciding(in_force, M[rows], columns) >= 0)
    was = stage_reasons(in_force, chances[rows[ruled]], M[rows[ruled]], columns)
    for place, reason in zip(ruled.tolist(), was, strict=True):
        why[place] += f" In force: {reason}"
    return tuple(
        Move(*of_one)
        for of_one in zip(
            ids[rows].tolist(),
            chances[rows].tolist(),
            before[rows].tolist(),
            after[rows].tolist(),
            why,
            strict=True,
        )
    )


def _places(staged: Stages) -> Ints:
    return np.array([STAGES.index(stage) for stage in staged], dtype=np.int64)
