"""Points before any outcome: a model from the team's table and the share of wins that it expects."""

import numpy as np

from leadscore.bundle import Bundle
from leadscore.checking import DAY, read
from leadscore.data.tables import Tables
from leadscore.errors import DataError, UsageError, explain
from leadscore.explain.card import driver_families, grade_cuts
from leadscore.explain.drivers import driver_points, family_sums
from leadscore.explain.wording import typical_values
from leadscore.features.defaults import declare
from leadscore.features.snapshot import Snapshot, snapshot
from leadscore.models.calibration import Scale, probability
from leadscore.models.estimators import assumed_sigmoid
from leadscore.models.matrix import Floats, columns_of, to_matrix
from leadscore.models.points import PointTable
from leadscore.policy.policy import Policy
from leadscore.preparing import kept_contract, refuse_unreadable_rules
from leadscore.project import Project


def start(project: Project, rate: float) -> Bundle:
    """Make a model of the team's points, for as long as no outcome is known.

    Its probabilities are assumed: twelve points double the odds, and the leads at hand are given the
    expected share of wins on average. So it is marked as not calibrated, and its thresholds are the share or
    the capacity of the project on the leads at hand, with no evidence behind them.

    Parameters
    ----------
    project : Project
    rate : float
        The share of leads that the team expects to win; between 0 and 1.

    Returns
    -------
    Bundle
        Without a backtest.

    Raises
    ------
    UsageError
        The rate is not between 0 and 1.
    DataError
        A table breaks the contract, or holds no lead.
    """
    if not 0 < rate < 1:
        expected = "an expected share of wins between 0 and 1"
        raise UsageError(explain(expected, f"{rate:g}", "write 5 % as 0.05"))
    tables = read(project)
    features = declare(
        tables,
        exclude=set(project.exclude),
        roles=project.roles,
        extra=project.asked,
        keep_levels=project.keep_levels,
    )
    horizon = None if tables.created_at is None else project.horizon
    rows = snapshot(tables, features, None if horizon is None else tables.end)
    if not len(rows):
        raise DataError(explain("leads to see what points are usual", "none", "give the leads at hand"))
    columns = columns_of(rows.X)
    refuse_unreadable_rules(project, columns)
    M = to_matrix(rows.X, columns)
    scorer = PointTable(columns, project.points).with_means(M)
    margin, scale = scorer.margin(M), Scale()
    calibration = assumed_sigmoid(margin, rate)
    points = driver_points(scorer, calibration, scale, M).points
    sums = family_sums(points, driver_families(scorer, features))
    return Bundle(
        name=project.name,
        contract=kept_contract(project, tables, features),
        features=features,
        scorer=scorer,
        calibration=calibration,
        scale=scale,
        policy=_policy(project, tables, rows, probability(calibration.log_odds(margin))),
        cuts=grade_cuts(sums["fit"], sums["engagement"]),
        typical=typical_values(M, scorer.columns),
        horizon=horizon,
        backtest=None,
        calibrated=False,
        interval=None,
        familiar=None,
        facts={"training": {"leads": len(rows), "expected_rate": rate}, "excluded": dict(project.exclude)},
        phrases=project.phrases,
    )


def _policy(project: Project, tables: Tables, rows: Snapshot, p: Floats) -> Policy:
    """Draw the line where the project's share, or its capacity, of the leads at hand is above it.

    Segments get thresholds of their own once outcomes are known.
    """
    share = project.target.share or 0.2
    if project.target.capacity is not None and tables.created_at is not None:
        weeks = max(1.0, np.ptp(tables.created_at) / (7 * DAY))
        share = min(1.0, project.target.capacity / (len(rows) / weeks))
    mql, ready = (float(np.quantile(p, 1 - part)) for part in (share, share / 4))
    return Policy(
        mql=mql,
        sales_ready=ready,
        suppress=project.suppress,
        fast_track=project.fast_track,
        stay=project.stay,
        cool_down=project.cool_down,
    )
