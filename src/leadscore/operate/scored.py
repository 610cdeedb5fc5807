"""All leads as they are at a moment: chance, score, stage, and the rule that decides."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from leadscore.data.contract import Ints
from leadscore.features.snapshot import Snapshot
from leadscore.models.calibration import probability
from leadscore.models.matrix import Bools, Floats
from leadscore.operate.watch import FOR_SALES
from leadscore.policy.staging import Stages, Standing, deciding, stage_reasons, stages
from leadscore.predict import LeadModel


@dataclass(frozen=True, eq=False)
class Scored:
    """Leads at a moment, one row each.

    Parameters
    ----------
    model : LeadModel
    rows : Snapshot
    standing : Standing or None
        Where the leads stood before.
    chance, score : array of shape (n,)
    stage : array of shape (n,)
        With what was before: hysteresis and cool-down.
    fresh : array of shape (n,)
        The stage of a lead of which nothing was before.
    rule : int array of shape (n,)
        The number of the policy's rule that decides, -1 where none does.
    """

    model: LeadModel
    rows: Snapshot
    standing: Standing | None
    chance: Floats
    score: Floats
    stage: Stages
    fresh: Stages
    rule: Ints

    def reasons(self, some: Ints) -> list[str]:
        """Say of some leads, by their rows, why each is in its stage."""
        model, standing = self.model, self.standing
        if standing is not None:
            standing = Standing(standing.stage[some], standing.recycled[some])
        scale = None if model.bundle.calibrated else model.bundle.scale
        matrix, columns = model.ruled(self.rows)
        return stage_reasons(model.policy, self.chance[some], matrix[some], columns, standing, scale=scale)

    @cached_property
    def fast(self) -> Bools:
        """Whether a rule sends the lead to sales, whatever its chance."""
        return self.rule >= len(self.model.policy.suppress)

    @cached_property
    def suppressed(self) -> Bools:
        """Whether a rule holds the lead back."""
        return (self.rule >= 0) & ~self.fast

    @cached_property
    def for_sales(self) -> Bools:
        """Whether the lead is an MQL or sales ready."""
        return np.isin(self.stage, FOR_SALES)

    @cached_property
    def cooling(self) -> Bools:
        """Whether the lead would be for sales, had it not been given back lately."""
        return ~self.for_sales & np.isin(self.fresh, FOR_SALES)


def scored(model: LeadModel, rows: Snapshot, standing: Standing | None) -> Scored:
    """Score rows that `LeadModel.rows` gave, of leads that stood where `standing` says."""
    bundle, ruled = model.bundle, model.ruled(rows)
    log_odds = bundle.calibration.log_odds(bundle.scorer.margin(model.matrix(rows)))
    chance = probability(log_odds)
    return Scored(
        model=model,
        rows=rows,
        standing=standing,
        chance=chance,
        score=bundle.scale.score(log_odds),
        stage=stages(model.policy, chance, *ruled, standing),
        fresh=stages(model.policy, chance, *ruled),
        rule=deciding(model.policy, *ruled),
    )
