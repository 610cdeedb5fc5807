"""What a draft policy would have done on past leads, beside the policy in force."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from leadscore.errors import UsageError, explain
from leadscore.models.matrix import Column, Floats
from leadscore.policy.policy import STAGES, Policy, differences
from leadscore.policy.staging import Stages, stages
from leadscore.policy.tuning import Backtest

_SENT: Final = ("mql", "sales_ready")
_WEEKS_A_MONTH: Final = 365.25 / 12 / 7


@dataclass(frozen=True, slots=True)
class StageChange:
    """How many leads a stage has before and after, and how many enter and leave it.

    Always ``before + entering - leaving == after``.

    Parameters
    ----------
    stage : str
        One of `STAGES`.
    before, after, entering, leaving : int
        Leads of the backtest.
    """

    stage: str
    before: int
    after: int
    entering: int
    leaving: int


@dataclass(frozen=True, slots=True)
class Replay:
    """What one policy would have sent to sales, MQLs and sales-ready leads together.

    Parameters
    ----------
    sent, converted, missed : int
        Leads sent, those of them that converted, and leads that converted without being sent.
    """

    sent: int
    converted: int
    missed: int


@dataclass(frozen=True, slots=True)
class Preview:
    """A draft beside the policy in force.

    Parameters
    ----------
    changes : tuple of str
        What the draft changes, in words; empty when nothing.
    stages : tuple of StageChange
        One a stage, in the order of `STAGES`.
    in_force, draft : Replay
    leads : int
        Of the backtest.
    weeks : int or None
        Weeks that it spans; None where there is no clock.
    """

    changes: tuple[str, ...]
    stages: tuple[StageChange, ...]
    in_force: Replay
    draft: Replay
    leads: int
    weeks: int | None

    @property
    def sentence(self) -> str:
        """The replay in one sentence, a month where there is a clock."""
        if self.weeks is None:
            over, factor = f" of {self.leads:,} leads", 1.0
        else:
            over, factor = (
                f" a month over {self.weeks} week{'s' * (self.weeks != 1)}",
                _WEEKS_A_MONTH / self.weeks,
            )
        now, then = (
            [f"{round(factor * count):,}" for count in (replay.sent, replay.converted, replay.missed)]
            for replay in (self.draft, self.in_force)
        )
        return (
            f"You would have sent {now[0]}{over}; {now[1]} of them converted, {now[2]} conversions missed"
            f" (in force: {then[0]} sent, {then[1]} converted, {then[2]} missed)."
        )

    def to_dict(self) -> dict[str, Any]:
        """Give the preview as plain values for JSON, the sentence included."""
        return asdict(self) | {
            "changes": list(self.changes),
            "stages": [asdict(change) for change in self.stages],
            "sentence": self.sentence,
        }


def preview(
    draft: Policy,
    in_force: Policy,
    backtest: Backtest,
    M: Floats | None = None,
    columns: Sequence[Column] = (),
) -> Preview:
    """Replay a draft and the policy in force on leads whose outcome is known.

    Parameters
    ----------
    draft, in_force : Policy
    backtest : Backtest
        Mature leads, one row each, scored by a model that had not seen them.
    M : array of shape (n, p), optional
        The same leads as `to_matrix` lays them out, for the rules. Without it rules are left out on both
        sides, so the draft may not change them.
    columns : sequence of Column
        What the columns of M are.

    Returns
    -------
    Preview

    Raises
    ------
    UsageError
        The draft changes rules, and there is no matrix to apply them to.

    Examples
    --------
    >>> leads = Backtest([0.9, 0.5, 0.3, 0.1], [1, 0, 1, 0])
    >>> shown = preview(Policy(mql=0.3, sales_ready=0.8), Policy(mql=0.5, sales_ready=0.8), leads)
    >>> shown.sentence
    'You would have sent 3 of 4 leads; 2 of them converted, 0 conversions missed \
(in force: 2 sent, 1 converted, 1 missed).'
    """
    same_rules = (draft.suppress, draft.fast_track) == (in_force.suppress, in_force.fast_track)
    if M is None and not same_rules:
        raise UsageError(
            explain("the leads' columns, since the draft changes rules", "none", "preview thresholds alone")
        )
    before, after = (_staged(policy, backtest, M, columns) for policy in (in_force, draft))
    moved = before != after
    changes = tuple(
        StageChange(
            stage=stage,
            before=int((before == stage).sum()),
            after=int((after == stage).sum()),
            entering=int((moved & (after == stage)).sum()),
            leaving=int((moved & (before == stage)).sum()),
        )
        for stage in STAGES
    )
    return Preview(
        changes=differences(in_force, draft),
        stages=changes,
        in_force=_replay(before, backtest),
        draft=_replay(after, backtest),
        leads=len(backtest.y),
        weeks=backtest.weeks,
    )


def _staged(policy: Policy, backtest: Backtest, M: Floats | None, columns: Sequence[Column]) -> Stages:
    if M is None:
        policy = Policy(policy.mql, policy.sales_ready, nurture=policy.nurture)
        M = np.empty((len(backtest.y), 0))
    return stages(policy, backtest.probability, M, columns)


def _replay(staged: Stages, backtest: Backtest) -> Replay:
    sent = np.isin(staged.astype(str), _SENT)
    return Replay(
        sent=int(sent.sum()),
        converted=int((sent & backtest.y).sum()),
        missed=int((~sent & backtest.y).sum()),
    )
