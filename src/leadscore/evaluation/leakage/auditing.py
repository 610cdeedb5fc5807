"""The audit: every field judged by what it alone tells about the outcome, and the table by its splits."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from leadscore.errors import DataError, UsageError, explain
from leadscore.evaluation.leakage import table
from leadscore.evaluation.leakage.levels import coded
from leadscore.evaluation.leakage.rules import Verdict, judged
from leadscore.evaluation.leakage.signals import Ground, calendar_between, measured, placed, standing_out
from leadscore.evaluation.leakage.worked import Dated, Worked
from leadscore.evaluation.metrics import Floats, Ints, binary_outcome
from leadscore.evaluation.splits import Fold, forward_folds, grouped_folds

_FOLDS = 5


@dataclass(frozen=True, slots=True)
class FieldAudit:
    """What one field alone tells about the outcome, and whether that is too good to be true.

    Parameters
    ----------
    field : str
    verdict : "block", "suspect" or "ok"
    evidence : tuple of str
        Plain sentences with figures, those behind the verdict first.
    auc : float
        Power of its values and its gaps, out of fold.
    missing_auc : float
        Power of its being filled in alone, out of fold.
    filled_auc : float
        Power of its values among the leads where it is filled in, out of fold.
    forward_auc : float or None
        Power in later periods, learned from earlier ones; None without an order.
    calendar : float
        Share of the order's variance that it accounts for; 0 without an order.
    """

    field: str
    verdict: Verdict
    evidence: tuple[str, ...]
    auc: float
    missing_auc: float
    filled_auc: float
    forward_auc: float | None = None
    calendar: float = 0.0


@dataclass(frozen=True, slots=True)
class Audit:
    """Every field's audit, and what is to be said of the table as a whole.

    Parameters
    ----------
    fields : tuple of FieldAudit
    findings : tuple of str
        Plain sentences with figures: duplicates, and what a random split flatters.
    """

    fields: tuple[FieldAudit, ...]
    findings: tuple[str, ...] = ()


def audit(
    fields: pd.DataFrame,
    y: ArrayLike,
    *,
    group: ArrayLike | None = None,
    order: ArrayLike | None = None,
    worked: Worked | None = None,
    dated: Mapping[str, Dated] | None = None,
    personal: Collection[str] = (),
    seed: int = 0,
) -> Audit:
    """Judge every field by what its values alone, and its gaps alone, tell about the outcome.

    Each field is turned into levels: a text's values, a number's or a time's twentieths (its values where
    they are at most 50), a free text's length (more than 50 values, most of which occur once or twice), and
    missing as a level of its own. In grouped folds, a level's share of won leads among the training rows,
    pulled a little towards the overall share, is the score of the test rows; its AUC is the field's power.

    The thinking behind the rules, in the order of `THRESHOLDS`:

    - Known before the outcome, one field alone does not separate won from lost almost perfectly.
    - Honest fields come in two kinds. Some are always known (a source, the time spent on the site): their
      values may tell much, their gaps nothing. Some are asked for in a form: that a lead answered tells of
      its interest, what it answered tells little. A field whose gaps tell *and* whose values, where filled
      in, tell a lot again was filled in by someone who saw how the lead went.
    - Where a field is filled in hardly ever for the lost, or hardly ever for the won, filling it in is part
      of closing the lead.
    - A trait of a lead may single out a small group of sure buyers (a recommendation), or people who cannot
      buy (a student). A field whose levels settle the outcome on both sides, or that holds many of the won
      leads in levels which are nearly always won, is a record of the outcome. Missing is not a level here,
      nor are the parts of a number of more than 50 values: an honest strong number has extreme ends too.
      Such a group that the youngest leads have as often as the others was known at creation.
    - What is known at creation does not wait for the lead to be closed. Among leads of one age, open
      and closed ones have a field filled in about equally often, and have the same levels; so do young and
      old open leads.
    - A field whose history shows changes at the closing is looked at as it was before.
    - What follows the calendar and fails in later periods tells when a lead was seen, not how good it is; so
      does a number that rises or falls with the order.
    - A field far stronger than all others of its table is worth a question.
    - Names are a hint only: they lead to a question, never to a block.

    "Block" wants the field excluded or allowed with a reason; "suspect" wants an answer to when it is
    filled in. Levels are named in the evidence only when they cover at least 20 leads, in fields of at most
    20 levels whose name does not say that they are people. A field that leaks little, or only together with
    others, is not found here.

    Parameters
    ----------
    fields : DataFrame (n, fields)
        Raw attributes as they stand in the table; ids and the outcome are left to the caller to leave out.
    y : array of n outcomes, 0 or 1
    group : array of n group codes, optional
        Rows of one group stay on one side of a fold.
    order : array of n numbers, optional
        Anything that grows with time; the rules on the calendar need it.
    worked : Worked, optional
        All leads, open ones too; the rules on what happens to fields while leads are worked need it.
    dated : mapping of field to Dated, optional
        What the histories of fields tell.
    personal : collection of str
        Fields that tell persons: their levels are never named.
    seed : int
        Of the folds.

    Returns
    -------
    Audit
        One entry a field, in the order of the columns.

    Raises
    ------
    DataError
        When there are too few outcomes of either kind to judge by.

    Examples
    --------
    >>> y = np.arange(400) % 2
    >>> fields = pd.DataFrame({"size": np.arange(400) % 7, "contract_signed": np.where(y, "yes", None)})
    >>> for found in audit(fields, y).fields:
    ...     print(found.field, found.verdict)
    size ok
    contract_signed block
    """
    outcome = binary_outcome(y)
    if len(fields) != len(outcome):
        found = f"{len(fields)} rows and {len(outcome)} outcomes"
        raise UsageError(explain("one outcome a row of fields", found, "pass equal lengths"))
    when = None if order is None else np.asarray(order, dtype=np.float64)
    ground = Ground(
        y=outcome,
        group=_codes(group, len(outcome)),
        folds=grouped_folds(group, outcome, _FOLDS, seed),
        later=() if when is None else _later_folds(when, group, outcome),
        order=when,
        place=None if when is None else placed(when),
        worked=worked,
        dated=dated or {},
        personal=personal,
    )
    measures = [measured(str(name), fields.iloc[:, k], ground) for k, name in enumerate(fields.columns)]
    judgements = [
        (signals, *judged(signals)) for signals in standing_out([signals for signals, _ in measures])
    ]
    used = [
        this for (_, this), (_, verdict, _) in zip(measures, judgements, strict=True) if verdict != "block"
    ]
    return Audit(
        fields=tuple(
            FieldAudit(
                field=signals.field,
                verdict=verdict,
                evidence=evidence,
                auc=signals.power.auc,
                missing_auc=signals.filled.auc,
                filled_auc=signals.value.auc,
                forward_auc=signals.forward_auc,
                calendar=signals.calendar,
            )
            for signals, verdict, evidence in judgements
        ),
        findings=(*table.duplicates(ground, used, seed), *table.optimism(ground, used)),
    )


def calendar_share(field: ArrayLike, order: ArrayLike) -> float:
    """Tell which share of the order's variance a field accounts for: near 1, it is a calendar in disguise.

    The field's levels, or twentieths, take the place of its values; the share of the variance between them
    is adjusted for their number (adjusted R squared of an analysis of variance).

    Parameters
    ----------
    field : array of n values
        Numbers, times or words; missing is a level.
    order : array of n numbers
        Anything that grows with time.

    Returns
    -------
    float
        From 0 to 1.

    Examples
    --------
    >>> row = np.arange(900)
    >>> round(calendar_share(row // 90, row), 2), round(calendar_share(row % 10, row), 2)
    (0.99, 0.0)
    """
    this = coded(pd.Series(field))
    return calendar_between(this.code, this.size, placed(np.asarray(order, dtype=np.float64)))


def _codes(group: ArrayLike | None, rows: int) -> Ints:
    if group is None:
        return np.arange(rows)
    return np.asarray(np.unique(np.asarray(group), return_inverse=True)[1], dtype=np.int64)


def _later_folds(when: Floats, group: ArrayLike | None, y: Floats) -> tuple[Fold, ...]:
    try:
        return forward_folds(when, group, y=y)
    except DataError:
        return ()  # too short a history to look forward: judged without
