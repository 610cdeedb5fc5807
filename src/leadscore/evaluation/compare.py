"""One honest comparison: every model on the same folds, beside the baseline, with intervals and a verdict."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from leadscore.errors import DataError, UsageError, explain, nearest, shown
from leadscore.evaluation.fitting import Rows, chance, fitted, side_by_side
from leadscore.evaluation.metrics import (
    METRICS,
    Floats,
    Ints,
    Ranking,
    binary_outcome,
    bootstrap,
    evaluate,
    interval,
    ranking,
)
from leadscore.evaluation.rolling import Plan
from leadscore.evaluation.splits import Fold

_LOG_LOSS: Final = list(METRICS).index("log_loss")
_BETTER: Final = "better than"
_NUMBERS: Final = ("value", "low", "high", "difference", "difference_low", "difference_high")
_Key = tuple[str, str]  # slice, model
_PREDICTION_COLUMNS: Final = ("row", "fold", "y")


@dataclass(frozen=True, slots=True)
class _Count:
    """A metric that decides a verdict: in words, which way is better, and what share of it hardly matters."""

    metric: str
    words: str
    better: int
    slight: float


_DECIDING: Final = (
    _Count("log_loss", "log loss", -1, 0.01),
    _Count("average_precision", "average precision", 1, 0.02),
    _Count("roc_auc", "AUC", 1, 0.01),
)


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """What each model was worth on rows that it had not seen.

    Parameters
    ----------
    rows : DataFrame
        One row a metric, slice and model: `value`, its 95 % interval `low` to `high`, and the `difference` to
        the baseline with its paired interval; nan where a metric is not defined.
    verdicts : mapping of model to sentence
        Every model but the baseline: "better than your points: ...", "not better than your points: ..." or
        "cannot tell yet (...)".
    chosen : str
        The model to take; may be the baseline.
    reason : str
        Why that one, in a sentence with its figures.
    baseline : str
    predictions : DataFrame
        One row a tested row: `row` (its number in X), `fold`, `y`, and a column of out-of-fold probabilities
        a model.
    plans : mapping of model to Plan
        How each is to be fitted on all rows; a model that is not in it, on all of them, as it is.
    picks : DataFrame
        What each was fitted on at each origin of a rolling backtest; empty otherwise.
    """

    rows: pd.DataFrame
    verdicts: Mapping[str, str]
    chosen: str
    reason: str
    baseline: str
    predictions: pd.DataFrame
    plans: Mapping[str, Plan] = field(default_factory=dict)
    picks: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models, in the order given."""
        return tuple(str(name) for name in self.predictions.columns[len(_PREDICTION_COLUMNS) :])

    def value(self, metric: str, model: str) -> float:
        """Give one figure over all tested rows."""
        rows = self.rows
        here = (rows["metric"] == metric) & (rows["model"] == model) & (rows["slice"] == "all")
        return float(rows.loc[here, "value"].iloc[0])

    def table(self, slice_name: str = "all") -> pd.DataFrame:
        """Lay the rows of one slice out for reading: metrics down, models across.

        Parameters
        ----------
        slice_name : str

        Returns
        -------
        DataFrame of text, such as "0.871 [0.864, 0.878]"
        """
        rows = self.rows[self.rows["slice"] == slice_name]
        if rows.empty:
            known = [str(name) for name in self.rows["slice"].unique()]
            found = f"{shown(slice_name)!r}{nearest(slice_name, known)}"
            raise UsageError(explain("a slice that was compared", found, f"use one of {', '.join(known)}"))
        cells = [
            "not defined" if pd.isna(value) else f"{value:.3f} [{low:.3f}, {high:.3f}]"
            for value, low, high in zip(rows["value"], rows["low"], rows["high"], strict=True)
        ]
        wide = rows.assign(cell=cells).pivot(index="metric", columns="model", values="cell")
        return wide.loc[list(METRICS), list(self.models)].rename_axis(index=None, columns=None)

    def to_dict(self) -> dict[str, Any]:
        """Return `{"chosen": ..., "rows": [...]}` for JSON; what is not defined is None."""
        records = self.rows.to_dict("records")
        rows = [
            {str(key): None if pd.isna(value) else value for key, value in row.items()} for row in records
        ]
        return {"chosen": self.chosen, "rows": rows}


def compare(
    X: pd.DataFrame | NDArray[Any],
    y: ArrayLike,
    models: Mapping[str, Any],
    folds: Sequence[Fold],
    *,
    group: ArrayLike | None = None,
    baseline: str = "points",
    slices: Mapping[str, NDArray[np.bool_]] | None = None,
    draws: int = 300,
    seed: int = 0,
    n_jobs: int = 1,
    progress: Callable[[int, int, str], None] | None = None,
) -> Comparison:
    """Fit every model anew on every fold, pool what it says of the rows left out, and compare.

    The model to take is the one with the lowest log loss among the baseline and those that have proven to be
    better than it, unless a simpler one is as good: the first, in order of simplicity, whose log loss is
    within one standard error (of the paired difference, by the bootstrap) of the lowest.

    Parameters
    ----------
    X : DataFrame or array (n, p)
    y : array of n outcomes, 0 or 1
    models : mapping of name to scikit-learn classifier
        From the simplest to the most complex; the baseline counts as the simplest wherever it stands. They
        are cloned, never changed. `groups` is passed to a `fit` that names it.
    folds : sequence of Fold
        No row may be tested twice; rows that are never tested only train.
    group : array of n group codes, optional
        Intervals draw whole groups; every row stands alone when left out.
    baseline : str
        The model that the others must prove themselves against.
    slices : mapping of name to n booleans, optional
        Parts of the rows to report apart; "all" is always there.
    draws : int
        Bootstrap draws behind every interval.
    seed : int
        Of the draws.
    n_jobs : int
        Fits at a time.
    progress : callable(done, total, what), optional
        Told after every fit.

    Returns
    -------
    Comparison

    Raises
    ------
    UsageError
        When the baseline is not among the models, folds overlap, or lengths differ.
    DataError
        When an outcome is not 0 or 1.
    ModelError
        When a model's probabilities are not probabilities.

    Examples
    --------
    >>> from sklearn.dummy import DummyClassifier
    >>> from sklearn.linear_model import LogisticRegression
    >>> from leadscore.evaluation.splits import grouped_folds
    >>> X = np.linspace(-2, 2, 200)[:, None]
    >>> y = (X[:, 0] + np.sin(np.arange(200)) > 0).astype(int)
    >>> models = {"points": DummyClassifier(), "logistic": LogisticRegression()}
    >>> found = compare(X, y, models, grouped_folds(None, y), draws=50)
    >>> found.chosen
    'logistic'
    >>> found.verdicts["logistic"].split(":")[0]
    'better than your points'
    """
    outcome = binary_outcome(y)
    rows = Rows(X, outcome, np.arange(len(outcome)) if group is None else np.asarray(group))
    _check_lengths(rows, slices or {})
    _check_names(models, baseline)
    _check_folds(folds)
    predictions = _predict(rows, models, folds, n_jobs=n_jobs, progress=progress)
    return judge(predictions, group=rows.group, baseline=baseline, slices=slices, draws=draws, seed=seed)


def judge(
    predictions: pd.DataFrame,
    *,
    group: NDArray[Any],
    baseline: str = "points",
    slices: Mapping[str, NDArray[np.bool_]] | None = None,
    not_to_take: Collection[str] = (),
    draws: int = 300,
    seed: int = 0,
) -> Comparison:
    """Compare what models said of rows that they had not seen.

    Parameters
    ----------
    predictions : DataFrame
        As in `Comparison`; the models in order of simplicity.
    group : array of group codes
        One for each row of X, of which `predictions` names some.
    baseline, slices, draws, seed
        As for `compare`.
    not_to_take : collection of str
        Models that are compared, and never chosen.

    Returns
    -------
    Comparison

    Examples
    --------
    >>> y = np.tile([0, 0, 1], 100)
    >>> said = {"points": np.full(300, 1 / 3), "model": np.where(y, 0.6, 0.2)}
    >>> predictions = pd.DataFrame({"row": np.arange(300), "fold": "a", "y": y, **said})
    >>> judge(predictions, group=np.arange(300)).chosen
    'model'
    """
    models = [str(name) for name in predictions.columns[len(_PREDICTION_COLUMNS) :]]
    tested = predictions["row"].to_numpy()
    outcome = predictions["y"].to_numpy(dtype=np.float64)
    everything = {"all": np.ones(len(group), dtype=bool)}
    ranked: dict[tuple[str, str], tuple[Ranking, Ints]] = {}
    for part, mask in {**everything, **(slices or {}), **everything}.items():
        places = np.flatnonzero(np.asarray(mask, dtype=bool)[tested])
        if not len(places):
            do = "leave that slice out or choose folds that test it"
            raise DataError(explain("tested rows in every slice", f"none in {shown(part)!r}", do))
        for model in models:
            order = ranking(outcome[places], predictions[model].to_numpy()[places])
            ranked[part, model] = (order, places)
    drawn = bootstrap(ranked, group[tested], draws=draws, seed=seed)
    cells = _cells({key: evaluate(order) for key, (order, _) in ranked.items()}, drawn, baseline)

    simple_first = sorted(models, key=lambda name: name != baseline)
    verdicts = {
        name: _verdict(cells["all", name], cells["all", baseline], baseline)
        for name in models
        if name != baseline
    }
    proven = [
        name
        for name in simple_first
        if name not in not_to_take and verdicts.get(name, _BETTER).startswith(_BETTER)
    ]
    chosen, reason = _choose(
        {name: float(cells["all", name][0, _LOG_LOSS]) for name in proven},
        {name: drawn["all", name][:, _LOG_LOSS] for name in proven},
        _called(baseline),
    )
    return Comparison(
        rows=pd.concat([_frame(*key, cell) for key, cell in cells.items()], ignore_index=True),
        verdicts=verdicts,
        chosen=chosen,
        reason=reason,
        baseline=baseline,
        predictions=predictions,
    )


def _check_lengths(rows: Rows, masks: Mapping[str, NDArray[np.bool_]]) -> None:
    lengths = {"outcomes": len(rows.y), "groups": len(rows.group)}
    lengths.update((f"slice {shown(part)!r}", len(mask)) for part, mask in masks.items())
    for what, length in lengths.items():
        if length != len(rows.X):
            expected = f"{len(rows.X)} rows in {what}, as in X"
            raise UsageError(explain(expected, str(length), "pass equal lengths"))


def _check_names(models: Mapping[str, Any], baseline: str) -> None:
    if baseline not in models:
        found = ", ".join(map(shown, models)) + nearest(baseline, list(models))
        raise UsageError(explain(f"a baseline {shown(baseline)!r} among the models", found, "add it"))
    reserved = [name for name in _PREDICTION_COLUMNS if name in models]
    if reserved:
        raise UsageError(explain("another model name", reserved[0], "rename it: predictions use that column"))


def _check_folds(folds: Sequence[Fold]) -> None:
    tested = [row for fold in folds for row in fold.test.tolist()]
    if not tested or len(set(tested)) < len(tested):
        found = "rows tested twice" if tested else "no rows tested"
        raise UsageError(explain("folds that test a row at most once", found, "make the folds anew"))


def _predict(
    rows: Rows,
    models: Mapping[str, Any],
    folds: Sequence[Fold],
    *,
    n_jobs: int,
    progress: Callable[[int, int, str], None] | None,
) -> pd.DataFrame:
    """Fit and predict fold by fold: the only slow part."""
    jobs = [(fold, name) for fold in folds for name in models]
    fits = side_by_side(_fit_and_say, ((name, models[name], rows, fold) for fold, name in jobs), n_jobs)
    said: dict[str, list[Floats]] = {name: [] for name in models}
    for done, ((fold, name), probability) in enumerate(zip(jobs, fits, strict=True), start=1):
        said[name].append(probability)
        if progress is not None:
            progress(done, len(jobs), f"{name}, {fold.name}")
    row = np.concatenate([fold.test for fold in folds])
    columns: dict[str, Any] = {
        "row": row,
        "fold": np.repeat([fold.name for fold in folds], [len(fold.test) for fold in folds]),
        "y": rows.y[row].astype(np.int8),
        **{name: np.concatenate(parts) for name, parts in said.items()},
    }
    return pd.DataFrame(columns).sort_values("row", ignore_index=True)


def _fit_and_say(name: str, model: Any, rows: Rows, fold: Fold) -> Floats:
    return chance(fitted(model, rows, fold.train), rows.read(fold.test), f"{name} in {fold.name}")


def _cells(values: Mapping[_Key, Floats], drawn: Mapping[_Key, Floats], baseline: str) -> dict[_Key, Floats]:
    """Put value, interval, difference and its paired interval (rows, as _NUMBERS) beside each other.

    Noise only ever makes a calibration error larger, so that its draws may all lie above it: an interval is
    widened to hold the value that it is of.
    """
    ends = {key: interval(own) for key, own in drawn.items()}
    return {
        (part, model): np.stack(
            [
                value,
                np.fmin(ends[part, model][0], value),
                np.fmax(ends[part, model][1], value),
                value - values[part, baseline],
                *interval(drawn[part, model] - drawn[part, baseline]),
            ]
        )
        for (part, model), value in values.items()
    }


def _frame(part: str, model: str, cell: Floats) -> pd.DataFrame:
    numbers = dict(zip(_NUMBERS, cell, strict=True))
    return pd.DataFrame({"metric": list(METRICS), "slice": part, "model": model, **numbers})


def _called(baseline: str) -> str:
    return "your points" if baseline == "points" else baseline


def _choose(value: Mapping[str, float], drawn: Mapping[str, Floats], other: str) -> tuple[str, str]:
    """Take the lowest log loss, or the first simpler model that is within one standard error of it."""
    if len(value) == 1:
        return next(iter(value)), f"no model has proven to be better than {other}"
    best = min(value, key=lambda name: value[name])
    for name in value:
        if name == best:
            break
        worse, error = value[name] - value[best], float(np.nanstd(drawn[name] - drawn[best]))
        if worse <= error:
            within = f"within one standard error ({worse:+.4f}, error {error:.4f})"
            return name, f"{name} is simpler than {best}, and its log loss is {within}"
    below = "more than one standard error below every simpler model"
    return best, f"{best} has the lowest log loss, {value[best]:.4f}, {below}"


def _verdict(cell: Floats, base: Floats, baseline: str) -> str:
    """Say in a sentence whether a model beats the baseline, from the paired intervals of three metrics."""
    other = _called(baseline)
    texts: dict[str, list[str]] = {"gain": [], "loss": [], "unclear": []}
    matters = False
    for count in _DECIDING:
        value, _, _, difference, low, high = cell[:, list(METRICS).index(count.metric)]
        base_value = base[0, list(METRICS).index(count.metric)]
        worst, best = sorted((count.better * low, count.better * high))
        kind = "gain" if worst > 0 else "loss" if best < 0 else "unclear"
        texts[kind].append(
            f"{count.words} {value:.3f} against {base_value:.3f} "
            f"({difference:+.3f} [{low:+.3f}, {high:+.3f}])"
        )
        matters |= bool(best >= count.slight * base_value)
    gains, losses, unclear = texts.values()
    if losses and not gains:
        return f"not better than {other}: worse by {'; '.join(losses)}"
    if not matters:
        return f"not better than {other} by anything that matters: {'; '.join(gains + losses + unclear)}"
    if len(gains) >= 2 and not losses:
        return f"{_BETTER} {other}: {'; '.join(gains)}"
    parts = {"better by ": gains, "worse by ": losses, "it may be nothing: ": unclear}
    return (
        f"cannot tell yet ({', but '.join(words + '; '.join(part) for words, part in parts.items() if part)})"
    )
