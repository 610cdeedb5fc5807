"""Which rows train and which test: folds that keep a group on one side, and folds that look forward only."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from leadscore.errors import DataError, UsageError, explain
from leadscore.evaluation.metrics import Floats, Ints, binary_outcome


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """Row numbers to train on, row numbers to test on, and what to call it.

    Of folds that look forward, `at` is the moment the test period starts. A warm-up fold comes before those
    that count: later ones may learn from how it went.
    """

    train: Ints
    test: Ints
    name: str
    at: float | None = None
    warm_up: bool = False


def _codes(group: ArrayLike | None, rows: int) -> Ints:
    if group is None:
        return np.arange(rows, dtype=np.int64)
    values = np.asarray(group)
    if values.shape != (rows,):
        found = f"an array of shape {values.shape}"
        raise UsageError(explain(f"one group for each of the {rows} rows", found, "pass equal lengths"))
    return np.unique(values, return_inverse=True)[1].astype(np.int64)


def _lacking(folds: Iterable[Fold], y: Floats | None) -> str | None:
    """Say what the first unusable fold lacks, or None."""
    for fold in folds:
        for side, rows in (("train on", fold.train), ("test on", fold.test)):
            if not len(rows):
                return f"no rows to {side} in {fold.name}"
            if y is not None and len(np.unique(y[rows])) == 1:
                return f"only {'won' if y[rows[0]] else 'lost'} rows to {side} in {fold.name}"
    return None


def _deal(code: Ints, y: Floats, n: int, rng: np.random.Generator) -> Ints:
    """Give each group a fold: largest first, each where its outcomes are scarcest so far."""
    won = np.bincount(code, weights=y)
    size = np.bincount(code)
    lost = size - won
    order = rng.permutation(len(size))
    order = order[np.argsort(-size[order], kind="stable")]
    per_won, per_lost = 1 / won.sum() ** 2, 1 / lost.sum() ** 2
    held_won, held_lost = [0.0] * n, [0.0] * n
    fold_of = np.empty(len(size), dtype=np.int64)
    for group, w, v in zip(order.tolist(), won[order].tolist(), lost[order].tolist(), strict=True):
        # the least increase of the sum of squares of both outcomes' shares
        cost = [w * a * per_won + v * b * per_lost for a, b in zip(held_won, held_lost, strict=True)]
        fold = cost.index(min(cost))
        held_won[fold] += w
        held_lost[fold] += v
        fold_of[group] = fold
    return fold_of[code]


def grouped_folds(group: ArrayLike | None, y: ArrayLike, n: int = 5, seed: int = 0) -> tuple[Fold, ...]:
    """Split rows into folds that hold groups whole and outcomes as evenly as the groups allow.

    With fewer groups of one outcome than folds asked for, there are fewer folds; their names say how many.

    Parameters
    ----------
    group : array of r group codes, or None
        Rows of one group are never on both sides; None means that every row stands alone.
    y : array of r outcomes, 0 or 1
    n : int
        Folds wanted, at least 2.
    seed : int

    Returns
    -------
    tuple of Fold
        Every row is tested exactly once.

    Raises
    ------
    DataError
        When two folds with both outcomes on both sides cannot be made.

    Examples
    --------
    >>> [fold.test.tolist() for fold in grouped_folds([1, 1, 2, 2], [0, 1, 0, 1], n=2)]
    [[0, 1], [2, 3]]
    """
    if n < 2:
        raise UsageError(explain("at least 2 folds", str(n), "ask for more"))
    outcome = binary_outcome(y)
    code = _codes(group, len(outcome))
    lacking: str | None = "only won rows" if outcome.all() else "only lost rows"
    if len(np.unique(outcome)) == 2:
        scarcest = min(len(np.unique(code[outcome == value])) for value in (0, 1))
        lacking = f"one outcome in {scarcest} group only"
        for folds in range(min(n, scarcest), 1, -1):
            fold_of = _deal(code, outcome, folds, np.random.default_rng(seed))
            made = tuple(
                Fold(np.flatnonzero(fold_of != k), np.flatnonzero(fold_of == k), f"fold {k + 1} of {folds}")
                for k in range(folds)
            )
            lacking = _lacking(made, outcome)
            if lacking is None:
                return made
    expected = "won and lost rows in at least 2 groups each"
    raise DataError(explain(expected, str(lacking), "bring more leads whose outcome is known"))


def _cuts(in_order: Floats, first: int, periods: int) -> Floats:
    """Choose the values at which test periods start: after about `first` rows, then in equal counts."""
    rows = len(in_order)
    cuts = set()
    for period in range(periods):
        place = first + (rows - first) * period // periods
        left, right = (int(np.searchsorted(in_order, in_order[place], side)) for side in ("left", "right"))
        nearer = left if left and place - left <= right - place else right
        if 0 < nearer < rows:
            cuts.add(float(in_order[nearer]))
    return np.array(sorted(cuts))


def forward_folds(
    order: ArrayLike,
    group: ArrayLike | None,
    n: int = 4,
    *,
    known_at: ArrayLike | None = None,
    y: ArrayLike | None = None,
    warm_up: int = 0,
) -> tuple[Fold, ...]:
    """Split rows forward in time: each later period is tested by what was known before it began.

    The first half of the rows only trains; the rest is cut into periods of equal counts. Rows of equal
    `order` stay in one period. Training rows of a group that is tested are left out. When a period would
    lack rows, or one of the outcomes, there are fewer and longer periods; their names say how many.
    Warm-up periods are cut out of the first half in the same way, as many as have both outcomes on both
    sides.

    Parameters
    ----------
    order : array of r numbers
        When a row was looked at, or anything that grows with time.
    group : array of r group codes, or None
    n : int
        Test periods wanted, at least 1.
    known_at : array of r numbers, optional
        When a row's outcome became known, on the scale of `order`: a row trains only for periods that start
        then or later.
    y : array of r outcomes, 0 or 1, optional
        Makes sure that every fold has both outcomes on both sides.
    warm_up : int
        Warm-up periods wanted.

    Returns
    -------
    tuple of Fold
        Earliest period first.

    Raises
    ------
    DataError
        When not even one period can be tested, or `order` or `known_at` has gaps.

    Examples
    --------
    >>> [(fold.train.tolist(), fold.test.tolist()) for fold in forward_folds([3, 1, 2, 4], None, n=2)]
    [([1, 2], [0]), ([0, 1, 2], [3])]
    """
    if n < 1 or warm_up < 0:
        found = f"{n}, and {warm_up} to warm up"
        raise UsageError(explain("at least 1 test period", found, "ask for more"))
    when = np.asarray(order, dtype=np.float64)
    code = _codes(group, len(when))
    known = when if known_at is None else np.asarray(known_at, dtype=np.float64)
    outcome = None if y is None else binary_outcome(y)
    if known.shape != when.shape or (outcome is not None and outcome.shape != when.shape):
        raise UsageError(
            explain("order, known_at and y of equal lengths", "unequal ones", "pass one value a row")
        )
    gaps = np.flatnonzero(np.isnan(when) | np.isnan(known))
    if len(gaps):
        found = f"{len(gaps)} rows without one, the first is row {gaps[0]}"
        raise DataError(explain("a place in time for every row", found, "leave those rows out or date them"))
    lacking: str | None = "one moment only"
    for periods in range(n, 0, -1):
        in_order = np.sort(when)
        cuts = _cuts(in_order, len(when) // 2, periods)
        made = tuple(_forward_fold(when, known, code, cuts, k) for k in range(len(cuts)))
        if made:
            lacking = _lacking(made, outcome)
            if lacking is None:
                return *_warm_up(when, known, code, outcome, cuts, warm_up), *made
    expected = "rows with known outcomes before a later period to test"
    do = "bring a longer history, shorten the horizon, or use grouped folds without an order"
    raise DataError(explain(expected, str(lacking), do))


def _forward_fold(when: Floats, known: Floats, code: Ints, cuts: Floats, k: int) -> Fold:
    end = cuts[k + 1] if k + 1 < len(cuts) else np.inf
    test = np.flatnonzero((when >= cuts[k]) & ((when < end) | (end == np.inf)))
    tested = np.zeros(int(code.max()) + 1, dtype=bool)
    tested[code[test]] = True
    train = np.flatnonzero((when < cuts[k]) & (known <= cuts[k]) & ~tested[code])
    return Fold(train, test, f"period {k + 1} of {len(cuts)}", float(cuts[k]))


def _warm_up(
    when: Floats,
    known: Floats,
    code: Ints,
    outcome: Floats | None,
    cuts: Floats,
    wanted: int,
) -> tuple[Fold, ...]:
    """Make periods as long as those that count, and before them."""
    early = np.sort(when[when < cuts[0]])
    length = max(1, (len(when) - len(early)) // len(cuts))
    many = min(wanted, (len(early) - 1) // length)  # some rows are left to train the first
    if many < 1:
        return ()
    starts = np.append(_cuts(early, len(early) - length * many, many), cuts[0])
    made = (_forward_fold(when, known, code, starts, k) for k in range(len(starts) - 1))
    usable = [fold for fold in made if _lacking([fold], outcome) is None]
    return tuple(
        replace(fold, name=f"warm-up {k + 1} of {len(usable)}", warm_up=True) for k, fold in enumerate(usable)
    )
