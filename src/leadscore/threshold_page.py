"""The page that shows what thresholds would do: the curves behind the choice, and a draft's preview."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np

from leadscore.errors import UsageError, shown
from leadscore.evaluation import figures
from leadscore.evaluation.figures import Line
from leadscore.explain.card import stage_name
from leadscore.pages import page
from leadscore.policy.curve import Band, Curve, curve
from leadscore.policy.figures import Money
from leadscore.policy.policy import Policy, percent
from leadscore.policy.preview import Preview, unread, without
from leadscore.policy.tuning import Tuning
from leadscore.predict import LeadModel
from leadscore.thresholds import Laid, Outlook, figures_table, levels_table

MOST_MOVES: Final = 200  # leads that the page names; `Today.moves` has all
_FEWEST: Final = 20  # leads above a line, below which its precision is noise


def html(
    model: LeadModel,
    draft: Policy,
    outlook: Outlook,
    *,
    tuning: Tuning | None = None,
    money: Money | None = None,
    seed: int = 0,
) -> str:
    """Give a draft's effect as a page of its own: no script, nothing fetched, every value escaped.

    Parameters
    ----------
    model : LeadModel
    draft : Policy
    outlook : Outlook
        What `leadscore.thresholds.preview` gave for it.
    tuning : Tuning, optional
        How its thresholds were chosen.
    money : Money, optional
        For the curve of the profit.
    seed : int
        Of the bootstrap of the curves.

    Returns
    -------
    str
    """
    past, today = outlook.past, outlook.today
    curves = _curves(model, draft, money, seed)
    return page(
        "threshold.html.j2",
        name=shown(model.bundle.name),
        policy=model.policy,
        draft=draft,
        calibrated=model.bundle.calibrated,
        horizon=model.bundle.horizon,
        tuning=tuning,
        tables=() if tuning is None else _tables(tuning),
        past=past,
        unseen=outlook.unseen,
        pictures=list(_pictures(curves, past, model.policy, draft)),
        curves=curves,
        today=today,
        moves=() if today is None else today.moves[:MOST_MOVES],
        stage_name=stage_name,
        percent=percent,
    )


def _curves(model: LeadModel, draft: Policy, money: Money | None, seed: int) -> Curve | None:
    """Say what every line would have meant under the draft's rules, as far as past leads tell."""
    backtest = model.bundle.backtest
    if backtest is None:
        return None
    told = without(draft, unread(draft, backtest.columns))
    try:
        return curve(backtest, money=money, base=told, seed=seed)
    except UsageError:  # rules decide all leads: there is no line to draw
        return None


def _tables(tuning: Tuning) -> list[tuple[str, Laid]]:
    told = [("Value and 95 % interval", figures_table(tuning))]
    by = levels_table(tuning)
    return [*told, (f"MQLs by {shown(tuning.segment)}", by)] if by.rows else told


def _pictures(
    curves: Curve | None, past: Preview | None, policy: Policy, draft: Policy
) -> Iterator[tuple[str, str]]:
    """Draw each curve, with words for who does not see it."""
    if curves is not None:
        marks = {"draft": draft.mql, "in force": policy.mql}
        yield from _by_threshold(curves, marks)
        yield _gains(curves, marks)
    if past is not None and past.weeks:
        yield _weeks(past)


def _by_threshold(curves: Curve, marks: Mapping[str, float]) -> Iterator[tuple[str, str]]:
    x, on_x = curves.thresholds, "MQL from a chance of"
    taken = curves.bands["volume_per_week"].value * (curves.weeks or 1) >= _FEWEST
    top = float(x[taken].max()) if taken.any() else 1.0
    seen = np.append(x[x <= max(top, *marks.values())], 0.0).max()
    if "profit_per_week" in curves.bands:
        line = _line("profit", x, curves.bands["profit_per_week"])
        what = f"profit{_a_week(curves)}"
        yield _drawn("Profit", (on_x, what), [line], marks, shares=(True, False), most=seen)
    lines = [_line(name, x, curves.bands[name], keep=taken) for name in ("precision", "recall")]
    yield _drawn("Precision and recall", (on_x, "share"), lines, marks, shares=(True, True), most=seen)


def _gains(curves: Curve, marks: Mapping[str, float]) -> tuple[str, str]:
    by = [("the model", curves.bands)]
    if curves.points is not None:
        by.append(("the points", curves.points))
    lines = [_line(name, bands["volume_per_week"].value, bands["wins_per_week"]) for name, bands in by]
    volume = curves.bands["volume_per_week"].value
    places = {name: float(np.interp(-at, -curves.thresholds, volume)) for name, at in marks.items()}
    a_week = _a_week(curves)
    return _drawn("Gains", (f"MQLs{a_week}", f"conversions among them{a_week}"), lines, places)


def _weeks(past: Preview) -> tuple[str, str]:
    number = np.array([week.week for week in past.weeks], np.float64)
    number -= number.min() - 1
    sent = {
        "draft": [week.draft.sent for week in past.weeks],
        "in force": [week.in_force.sent for week in past.weeks],
    }
    lines = [Line(name, number, np.array(values, np.float64)) for name, values in sent.items()]
    capacity = None if past.load is None else past.load.capacity
    level = None if capacity is None else ("capacity", capacity)
    return _drawn("Volume by week", ("week of the backtest", "leads sent"), lines, {}, level=level)


def _drawn(
    title: str,
    axes: tuple[str, str],
    lines: Sequence[Line],
    marks: Mapping[str, float],
    most: float | None = None,
    **more: Any,
) -> tuple[str, str]:
    figure = figures.banded(title, axes, lines, uprights=marks, most=most, **more)
    places = "".join(f"; {name} at {at:.4g}" for name, at in marks.items())
    alt = f"{title}: {' and '.join(line.name for line in lines)} by “{axes[0]}”{places}"
    return alt, figures.data_uri(figure)


def _line(name: str, x: Any, band: Band, keep: Any = slice(None)) -> Line:
    return Line(name, x[keep], band.value[keep], band.low[keep], band.high[keep])


def _a_week(curves: Curve) -> str:
    return "" if curves.weeks is None else " a week"
