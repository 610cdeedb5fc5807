"""The rolling-origin backtest: at each origin only what was known then teaches, chooses and calibrates."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from leadscore.errors import DataError, UsageError, explain, shown
from leadscore.evaluation.fitting import Rows, chance, fitted, side_by_side, takes
from leadscore.evaluation.metrics import Floats, Ints
from leadscore.evaluation.splits import Fold
from leadscore.models.calibration import fit_level, log_odds_of, probability

Bools: TypeAlias = NDArray[np.bool_]

HISTORIES: Final = (1.0, 0.5, 0.25, 0.125)
"""Shares of the known rows, the latest, on which models are tried."""

ADAPTIVE: Final = "adaptive"
"""The name of the learned family that had done best by each origin."""

_RECENT: Final = 5  # origins that teach the level
_FEWEST: Final = 50  # rows of each outcome that a shorter history must hold


@dataclass(frozen=True, slots=True)
class Plan:
    """How a family of models is to be fitted.

    Parameters
    ----------
    history : float
        The share of the known rows, the latest, that it learns from.
    without : tuple of str
        Columns that it does not read.
    shift : float
        What is added to its log-odds.
    """

    history: float = 1.0
    without: tuple[str, ...] = ()
    shift: float = 0.0


@dataclass(frozen=True, eq=False)
class Rolled:
    """What every family said at each origin, and how each is to be fitted now.

    Parameters
    ----------
    predictions : DataFrame
        One row a tested row: `row`, `fold`, `y`, and a column of probabilities a model; "adaptive" last.
    plans : mapping of model to Plan
        From all origins: for a model that is fitted today.
    picks : DataFrame
        One row an origin and model: the `history` and number of columns left out (`without`) that had done
        best by then, the `shift` of its log-odds, and for "adaptive" the `family`.
    """

    predictions: pd.DataFrame
    plans: Mapping[str, Plan]
    picks: pd.DataFrame


@dataclass(frozen=True, slots=True, eq=False)
class _Tested:
    """All tested rows, origin after origin."""

    row: Ints
    origin: Ints
    y: Floats
    group: Ints
    known: Floats
    at: Floats  # one an origin

    def by(self, origin: int) -> Bools:
        """Which tested rows' outcomes were known when an origin began; after the last, all are."""
        if origin == len(self.at):
            return np.ones(len(self.row), dtype=bool)
        past: Bools = (self.origin < origin) & (self.known <= self.at[origin])
        return past


@dataclass(frozen=True, slots=True, eq=False)
class _Tried:
    """One way to fit a family, and what it said: log-odds, the shift at each origin, and the losses."""

    plan: Plan
    log_odds: Floats
    shift: Floats  # one an origin, and one for today
    loss: Floats
    shifted_loss: Floats


@dataclass(frozen=True, slots=True, eq=False)
class _Stream:
    """What a family said, fitted at each origin as seemed best by then."""

    log_odds: Floats
    loss: Floats
    picks: list[dict[str, Any]] = field(default_factory=list)


def rolling(
    rows: Rows,
    models: Mapping[str, Any],
    origins: Sequence[Fold],
    *,
    order: ArrayLike,
    known_at: ArrayLike | None = None,
    calendar: Sequence[str] = (),
    baseline: str = "points",
    histories: Sequence[float] = HISTORIES,
    n_jobs: int = 1,
    progress: Callable[[int, int, str], None] | None = None,
) -> Rolled:
    """Fit every family anew at each origin on what was known then, and test it on the period that follows.

    A family may learn from all that is known or from the latest part of it, and with or without the columns
    that follow the calendar. Its level may be corrected: the shift of the log-odds that would have made the
    latest origins promise what came. Which of these is used at an origin is decided by the log loss at the
    origins before, on rows whose outcome was known by then:

    - the history with the lowest loss, each corrected for its level, so that a rate that has moved does not
      decide what a model should learn from; models that take a course learn from all of it;
    - without the calendar, unless the loss with it is lower by more than one standard error (over groups);
    - the level as it is, unless correcting it has lowered the loss.

    So is the learned family itself for "adaptive": the first, in order of simplicity, whose loss is within
    one standard error of the lowest. Nothing of a tested period is ever used for its own prediction.

    Parameters
    ----------
    rows : Rows
        Rows beyond the tested ones, such as leads too young for a label, teach only models whose `fit` takes
        a course.
    models : mapping of name to scikit-learn classifier
        Simplest first. They are cloned, never changed.
    origins : sequence of Fold
        As `forward_folds` makes them; warm-up ones teach the choices and do not count.
    order : array of shape (n,)
        When a row was looked at; in days where there is a course.
    known_at : array of shape (n,), optional
        When its outcome became known; with `order` when not given.
    calendar : sequence of str
        Columns that follow the calendar. The baseline always reads them, and so do all where there are no
        others.
    baseline : str
        The model that is not learned.
    histories : sequence of float
        Shares of the known rows, the longest first.
    n_jobs : int
        Fits at a time.
    progress : callable(done, total, what), optional
        Told after every fit.

    Returns
    -------
    Rolled

    Raises
    ------
    UsageError
        The origins are not those of `forward_folds`, or none counts; names or lengths do not fit.
    DataError
        A row has no place in time, or all that was known at an origin ended alike.

    Examples
    --------
    >>> from sklearn.dummy import DummyClassifier
    >>> from sklearn.linear_model import LogisticRegression
    >>> from leadscore.evaluation.splits import forward_folds
    >>> X = np.sin(np.arange(800))[:, None]
    >>> y = (X[:, 0] + np.cos(7.0 * np.arange(800)) > 0).astype(float)
    >>> origins = forward_folds(np.arange(800), None, 4, y=y, warm_up=2)
    >>> models = {"points": DummyClassifier(), "logistic": LogisticRegression()}
    >>> rolled = rolling(Rows(X, y, np.arange(800)), models, origins, order=np.arange(800))
    >>> rolled.predictions.columns.tolist(), len(rolled.predictions)
    (['row', 'fold', 'y', 'points', 'logistic', 'adaptive'], 400)
    """
    when = np.asarray(order, dtype=np.float64)
    known = when if known_at is None else np.asarray(known_at, dtype=np.float64)
    at = np.array([np.nan if fold.at is None else fold.at for fold in origins])
    if all(fold.warm_up for fold in origins) or np.isnan(at).any():
        found = "folds without a moment" if np.isnan(at).any() else "none that counts"
        raise UsageError(explain("origins as forward_folds makes them", found, "make the folds anew"))
    _check_rows(rows, origins, when, known)
    _check_names(rows, models, calendar, baseline)
    droppable = () if len(set(calendar)) == rows.X.shape[1] else tuple(calendar)
    tested = _tested(rows, origins, known, at)
    plans = {
        # what young rows teach is recent as it is: their model is tried on all that is known
        name: _ways(
            () if name == baseline else droppable,
            histories[:1] if takes(model, "days") else histories,
        )
        for name, model in models.items()
    }
    said = _fit_all(rows, models, origins, at, plans, when, n_jobs=n_jobs, progress=progress)
    tried = {
        name: [_tried(plan, log_odds, tested) for plan, log_odds in zip(plans[name], said[name], strict=True)]
        for name in models
    }
    streams = {name: _follow(name, ways, tested, origins) for name, ways in tried.items()}
    learned = {name: stream for name, stream in streams.items() if name != baseline}
    if learned:
        streams[ADAPTIVE] = _follow_families(learned, tested, origins)
    counted = np.array([not fold.warm_up for fold in origins])[tested.origin]
    names = np.array([fold.name for fold in origins], dtype=object)[tested.origin]
    columns: dict[str, Any] = {"row": tested.row, "fold": names, "y": tested.y.astype(np.int8)}
    columns |= {name: probability(stream.log_odds) for name, stream in streams.items()}
    predictions = pd.DataFrame(columns)[counted].sort_values("row", ignore_index=True)
    picks = [pick for stream in streams.values() for pick in stream.picks]
    today = {name: _plan_now(ways, tested, len(origins)) for name, ways in tried.items()}
    return Rolled(predictions, today, pd.DataFrame(picks))


def latest(rows: Ints, order: Floats, y: Floats, share: float) -> Ints:
    """Keep the latest share of some rows, ties whole; all of them where that would hold too few outcomes.

    Parameters
    ----------
    rows : array of row numbers
    order, y : array of shape (n,)
    share : float
        Above 0, at most 1.

    Returns
    -------
    array of row numbers

    Examples
    --------
    >>> latest(np.arange(400), np.arange(400.0), np.arange(400) % 2, 0.25)[[0, -1]].tolist()
    [300, 399]
    """
    if share >= 1 or not len(rows):
        return rows
    start = np.sort(order[rows])[int(len(rows) * (1 - share))]
    kept = rows[order[rows] >= start]
    wins = int((y[kept] == 1).sum())
    return rows if min(wins, len(kept) - wins) < _FEWEST else kept


def _check_rows(rows: Rows, origins: Sequence[Fold], when: Floats, known: Floats) -> None:
    if not len(rows.X) == len(rows.y) == len(rows.group) == len(when) == len(known):
        expected = "X, y, group, order and known_at of equal lengths"
        raise UsageError(explain(expected, "unequal ones", "pass one value a row"))
    gaps = np.flatnonzero(np.isnan(when) | np.isnan(known))
    if len(gaps):
        found = f"{len(gaps)} rows without one, the first is row {gaps[0]}"
        raise DataError(explain("a place in time for every row", found, "leave those rows out or date them"))
    for fold in origins:
        if len(np.unique(rows.y[fold.train])) != 2:
            expected = "won and lost rows to train on at every origin"
            raise DataError(explain(expected, f"others in {fold.name}", "give forward_folds the outcomes"))


def _check_names(rows: Rows, models: Mapping[str, Any], calendar: Sequence[str], baseline: str) -> None:
    taken = [name for name in ("row", "fold", "y", ADAPTIVE) if name in models]
    if taken:
        raise UsageError(explain("another model name", taken[0], "rename it: predictions use that column"))
    if baseline not in models:
        expected = f"a baseline {shown(baseline)!r} among the models"
        raise UsageError(explain(expected, ", ".join(map(shown, models)), "add it"))
    unknown = [name for name in calendar if name not in getattr(rows.X, "columns", ())]
    if unknown:
        expected = "calendar columns that X has"
        raise UsageError(explain(expected, shown(unknown[0]), "name columns of the DataFrame X"))


def _ways(calendar: tuple[str, ...], histories: Sequence[float]) -> list[Plan]:
    """List the ways to fit a family, the simplest first: fewer columns, then the longer history."""
    columns = (calendar, ()) if calendar else ((),)
    return [Plan(history, without) for without in columns for history in histories]


def _tested(rows: Rows, origins: Sequence[Fold], known: Floats, at: Floats) -> _Tested:
    row = np.concatenate([fold.test for fold in origins])
    return _Tested(
        row=row,
        origin=np.repeat(np.arange(len(origins)), [len(fold.test) for fold in origins]),
        y=rows.y[row],
        group=np.unique(rows.group[row], return_inverse=True)[1],
        known=known[row],
        at=at,
    )


def _fit_all(
    rows: Rows,
    models: Mapping[str, Any],
    origins: Sequence[Fold],
    at: Floats,
    plans: Mapping[str, Sequence[Plan]],
    when: Floats,
    *,
    n_jobs: int,
    progress: Callable[[int, int, str], None] | None,
) -> dict[str, list[Floats]]:
    """Give the log-odds of every tested row by every way to fit every family: the only slow part."""
    places: dict[tuple[str, int, tuple[str, ...], int], list[int]] = {}
    jobs: dict[tuple[str, int, tuple[str, ...], int], Ints] = {}
    for name, ways in plans.items():
        for k, fold in enumerate(origins):
            for way, plan in enumerate(ways):
                train = latest(fold.train, when, rows.y, plan.history)
                if takes(models[name], "days") and rows.course is not None:
                    seen = (when < at[k]) & (when >= when[train].min())  # young rows too
                    train = np.flatnonzero(seen & ~np.isin(rows.group, rows.group[fold.test]))
                key = (name, k, plan.without, len(train))  # equal windows are fitted once
                jobs[key] = train
                places.setdefault(key, []).append(way)
    longest_first = sorted(jobs.items(), key=lambda job: -len(job[1]))  # the cores end together
    arguments = (
        (name, models[name], rows, train, at[k] - when[train], origins[k].test, without)
        for (name, k, without, _), train in longest_first
    )
    fits = side_by_side(_fit_and_say, arguments, n_jobs)
    said: dict[tuple[str, int, int], Floats] = {}
    for done, ((key, _), log_odds) in enumerate(zip(longest_first, fits, strict=True), start=1):
        said.update(((key[0], way, key[1]), log_odds) for way in places[key])
        if progress is not None:
            progress(done, len(jobs), f"{key[0]}, {origins[key[1]].name}")
    return {
        name: [
            np.concatenate([said[name, way, k] for k in range(len(origins))])
            for way in range(len(plans[name]))
        ]
        for name in models
    }


def _fit_and_say(
    name: str, model: Any, rows: Rows, train: Ints, since: Floats, test: Ints, without: tuple[str, ...]
) -> Floats:
    fresh = fitted(model, rows, train, without=without, since=since)
    return log_odds_of(chance(fresh, rows.read(test, without), name))


def _tried(plan: Plan, log_odds: Floats, tested: _Tested) -> _Tried:
    shift = np.array([_level(log_odds, tested, k) for k in range(len(tested.at) + 1)])
    shifted = log_odds + shift[tested.origin]
    return _Tried(plan, log_odds, shift, _loss(log_odds, tested.y), _loss(shifted, tested.y))


def _level(log_odds: Floats, tested: _Tested, origin: int) -> float:
    past = tested.by(origin) & (tested.origin >= origin - _RECENT)
    return fit_level(log_odds[past], tested.y[past]) if past.any() else 0.0


def _loss(log_odds: Floats, y: Floats) -> Floats:
    loss: Floats = np.logaddexp(0.0, log_odds) - y * log_odds
    return loss


def _simplest(losses: Iterable[Floats], group: Ints) -> int:
    """Give the first whose mean loss is within one standard error, over groups, of the lowest."""
    ways = list(losses)
    best = min(ways, key=lambda loss: float(loss.mean()))
    for place, loss in enumerate(ways):
        worse = loss - best
        mean = float(worse.mean())
        sums = np.bincount(group, worse - mean)
        if mean <= np.sqrt((sums**2).sum()) / len(worse):
            return place
    raise AssertionError("the best is within an error of itself")


def _pick(ways: Sequence[_Tried], past: Bools, group: Ints) -> tuple[_Tried, bool]:
    """Choose how to fit a family, and whether to correct its level, by the losses so far."""
    if not past.any():
        return ways[0], False
    sets: dict[tuple[str, ...], _Tried] = {}
    for way in ways:
        known = sets.setdefault(way.plan.without, way)
        if way.shifted_loss[past].mean() < known.shifted_loss[past].mean():
            sets[way.plan.without] = way
    best = list(sets.values())
    way = best[_simplest((way.shifted_loss[past] for way in best), group[past])]
    return way, bool(way.shifted_loss[past].mean() < way.loss[past].mean())


def _follow(name: str, ways: Sequence[_Tried], tested: _Tested, origins: Sequence[Fold]) -> _Stream:
    log_odds = np.empty(len(tested.row))
    picks = []
    for k, fold in enumerate(origins):
        way, corrected = _pick(ways, tested.by(k), tested.group)
        shift = float(way.shift[k]) if corrected else 0.0
        here = tested.origin == k
        log_odds[here] = way.log_odds[here] + shift
        if not fold.warm_up:
            picks.append(
                {
                    "fold": fold.name,
                    "model": name,
                    "family": name,
                    "history": way.plan.history,
                    "without": len(way.plan.without),
                    "shift": shift,
                }
            )
    return _Stream(log_odds, _loss(log_odds, tested.y), picks)


def _follow_families(learned: Mapping[str, _Stream], tested: _Tested, origins: Sequence[Fold]) -> _Stream:
    log_odds = np.empty(len(tested.row))
    names, picks = list(learned), []
    for k, fold in enumerate(origins):
        past = tested.by(k)
        losses = (stream.loss[past] for stream in learned.values())
        name = names[_simplest(losses, tested.group[past]) if past.any() else 0]
        here = tested.origin == k
        log_odds[here] = learned[name].log_odds[here]
        picks += [{**pick, "model": ADAPTIVE} for pick in learned[name].picks if pick["fold"] == fold.name]
    return _Stream(log_odds, _loss(log_odds, tested.y), picks)


def _plan_now(ways: Sequence[_Tried], tested: _Tested, origins: int) -> Plan:
    way, corrected = _pick(ways, tested.by(origins), tested.group)
    shift = float(way.shift[origins]) if corrected else 0.0
    return Plan(way.plan.history, way.plan.without, shift)
