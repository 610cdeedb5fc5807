"""Thresholds of a saved model: choose them on its past, see first what they change, publish, undo."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from leadscore import bundle as bundles
from leadscore.errors import UsageError, explain, shown
from leadscore.policy import ledger
from leadscore.policy import preview as previews
from leadscore.policy.carrying import Carried, Hold, carried
from leadscore.policy.ledger import Entry
from leadscore.policy.moves import Move, StageChange, counts, moves
from leadscore.policy.policy import Policy, percent
from leadscore.policy.preview import Preview, unread, without
from leadscore.policy.rules import require_words
from leadscore.policy.staging import require_fit
from leadscore.policy.tuning import Aim, Tuning
from leadscore.policy.tuning import tune as tune_on
from leadscore.predict import LeadModel, Moment, load

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.model_selection import FixedThresholdClassifier

__all__ = [
    "Aim",
    "Carried",
    "Entry",
    "Outlook",
    "Today",
    "Tuning",
    "carry",
    "fixed_threshold",
    "history",
    "preview",
    "publish",
    "tune",
    "undo",
]

_LINES: Final = {
    "mql": "draft: MQL",
    "in force": "in force: MQL",
    "points": "as many by points",
    "sales_ready": "draft: sales ready",
    "in force, sales_ready": "in force: sales ready",
}
_OF_LEVELS: Final = ("volume_per_week", "wins_per_week", "wins_missed_per_week", "precision", "recall")


@dataclass(frozen=True, slots=True)
class Today:
    """What a draft does to leads as they are now.

    Parameters
    ----------
    leads : int
    stages : tuple of StageChange
        One a stage: scoring the same leads under the draft gives the counts `after`.
    moves : tuple of Move
        The leads whose stage changes, each with the reason.
    findings : tuple of str
        Which rows of the tables were left out or mended.
    """

    leads: int
    stages: tuple[StageChange, ...]
    moves: tuple[Move, ...]
    findings: tuple[str, ...]

    @property
    def frame(self) -> "pd.DataFrame":
        """The moves as a table: lead_id, probability, before, after, why."""
        import pandas as pd

        return pd.DataFrame(map(asdict, self.moves), columns=[each.name for each in fields(Move)])


@dataclass(frozen=True, slots=True)
class Outlook:
    """A draft beside the policy in force, on what is known.

    Parameters
    ----------
    past : Preview or None
        The replay of past leads; None where the model has none, or has not kept what a new rule reads.
    today : Today or None
        None where no leads were given.
    unseen : str
        Why there is no replay; empty where there is one.
    """

    past: Preview | None
    today: Today | None
    unseen: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Give the outlook as plain values for JSON."""
        return {
            "past": None if self.past is None else self.past.to_dict(),
            "today": None if self.today is None else asdict(self.today),
            "unseen": self.unseen,
        }


@dataclass(frozen=True, slots=True)
class Laid:
    """A table of texts: its heads, and its rows, each as long.

    Parameters
    ----------
    heads : tuple of str
    rows : tuple of tuple of str
    """

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def figures_table(tuning: Tuning) -> Laid:
    """Lay out the figures of all leads: a row a figure, what is to be compared side by side."""
    of = {(each.line, each.figure): each.text for each in tuning.figures if each.segment is None}
    lines = [line for line in _LINES if any(line == each for each, _ in of)]
    names = dict.fromkeys(name for _, name in of)
    rows = ((_called(name, tuning), *(of[line, name] for line in lines)) for name in names)
    return Laid(("figure", *(_LINES[line] for line in lines)), tuple(rows))


def levels_table(tuning: Tuning) -> Laid:
    """Lay out each level of the segment with its line and the figures of its MQLs; no rows without one."""
    of = {(each.segment, each.figure): each.text for each in tuning.figures if each.line == "mql"}
    lines = {level: own.mql for level, own in tuning.segments.items()}
    rows = (
        (
            level or "(none)",
            percent(lines.get(level, tuning.mql)),
            *(of[level, name] for name in _OF_LEVELS),
        )
        for level in dict.fromkeys(each for each, _ in of if each is not None)
    )
    names = (_called(name, tuning) for name in _OF_LEVELS)
    return Laid((shown(tuning.segment), "MQL from", *names), tuple(rows))


def _called(figure: str, tuning: Tuning) -> str:
    """Name a figure; without a clock it is of the whole backtest."""
    return figure.replace("_per_week", "" if tuning.weeks is None else "_a_week").replace("_", " ")


def tune(
    model: LeadModel,
    mql: Aim,
    *,
    sales: Aim | None = None,
    segment: str | None = None,
    per_segment: Mapping[str, float] | None = None,
    equal_recall: bool = False,
    sales_share: float = 0.25,
    draws: int = 1000,
    seed: int = 0,
) -> Tuning:
    """Choose thresholds on the leads that the model's backtest kept, beside the policy in force.

    Parameters
    ----------
    model : LeadModel
    mql, sales, segment, per_segment, equal_recall, sales_share, draws, seed
        As for `leadscore.policy.tuning.tune`.

    Returns
    -------
    Tuning
        `Tuning.draft(model.policy)` is the policy with these thresholds, for `preview` and `publish`.

    Raises
    ------
    DataError
        The model was made before any outcome was known.
    UsageError
        No threshold reaches an aim; the message says what the best one does.
    """
    backtest = model.bundle.past
    left_out = unread(model.policy, backtest.columns) if backtest.M is not None else frozenset()
    found = tune_on(
        backtest,
        mql,
        sales=sales,
        segment=segment,
        per_segment=per_segment,
        equal_recall=equal_recall,
        in_force=without(model.policy, left_out),
        sales_share=sales_share,
        draws=draws,
        seed=seed,
    )
    names = ", ".join(sorted(f"“{shown(rule.name)}”" for _, rule in left_out))
    notes = (f"left out, as the backtest did not keep what they read: {names}",) if names else ()
    return replace(found, notes=(*found.notes, *notes))


def preview(
    model: LeadModel,
    draft: Policy,
    leads: Any = None,
    events: Any = None,
    as_of: Moment = None,
    *,
    history: Any = None,
    previous: Any = None,
    capacity: float | None = None,
    by: Sequence[str] = (),
) -> Outlook:
    """Show what a draft would change: on past leads, whose outcome is known, and on leads of today.

    Parameters
    ----------
    model : LeadModel
    draft : Policy
    leads, events, as_of, history, previous : optional
        As for `LeadModel.score`; without leads only the past is shown.
    capacity : float, optional
        Leads that the team can work in a week.
    by : sequence of str
        Categories to show the effect by.

    Returns
    -------
    Outlook

    Raises
    ------
    DataError
        The draft is about a column or a word that the model does not have, or a table breaks the contract.
    UsageError
        As for `LeadModel.score`, or nothing can be shown: the past does not tell, and no leads are given.
    """
    _require_fit(draft, model)
    past, unseen = _past(model, draft, capacity, by)
    today = None
    if leads is not None:
        rows, findings = model.rows(leads, events, as_of, history)
        standing, told = model.standing(rows, previous, as_of)
        scale = None if model.bundle.calibrated else model.bundle.scale
        staged = (model.split(rows).probability, *model.ruled(rows), standing)
        today = Today(
            leads=len(rows),
            stages=counts(draft, model.policy, *staged),
            moves=moves(draft, model.policy, rows.lead_id, *staged, scale=scale),
            findings=(*findings, *told),
        )
    elif past is None:
        raise UsageError(explain("leads of today, as the past does not tell", unseen, "give LEADS"))
    return Outlook(past, today, unseen)


def publish(
    folder: str | Path,
    draft: Policy,
    *,
    author: str,
    reason: str,
    at: datetime,
    expected: int | None = None,
) -> Entry:
    """Put a draft in force as a new revision, with what is expected of it.

    Parameters
    ----------
    folder : path
        A saved model.
    draft : Policy
    author, reason : str
        Kept in the log.
    at : datetime
        Now, with a time zone.
    expected : int, optional
        The revision that the draft was made from; by default the draft's own. Where another one is in force
        the draft is refused, and the message shows what changed.

    Returns
    -------
    Entry

    Raises
    ------
    DataError
        The draft is about a column or a word that the model does not have.
    UsageError
        Another revision is in force by now, or the folder cannot be written to; then nothing has changed.
    ModelError
        The model or the log of its policies is altered.
    """
    model = load(folder)
    _require_fit(draft, model)
    return ledger.publish(
        folder,
        draft,
        expected=draft.revision if expected is None else expected,
        born=model.bundle.policy,
        author=author,
        reason=reason,
        at=at,
        effect=_effect(model, draft),
    )


def undo(
    folder: str | Path,
    *,
    author: str,
    reason: str,
    at: datetime,
    to: int | None = None,
    expected: int | None = None,
) -> Entry:
    """Bring an earlier policy back as a new revision; nothing is erased.

    Parameters
    ----------
    folder, author, reason, at, expected
        As for `publish`.
    to : int, optional
        The revision to bring back; by default the one before the one in force.

    Returns
    -------
    Entry

    Raises
    ------
    UsageError
        There is no such revision, or as for `publish`.
    ModelError
        As for `publish`.
    """
    model = load(folder)
    born = model.bundle.policy
    known = {born.revision: born, **{each.policy.revision: each.policy for each in history(folder)}}
    back = known.get(model.policy.revision - 1 if to is None else to)
    return ledger.undo(
        folder,
        expected=model.policy.revision if expected is None else expected,
        born=born,
        author=author,
        reason=reason,
        at=at,
        to=to,
        effect=None if back is None else _effect(model, back),
    )


def history(folder: str | Path) -> tuple[Entry, ...]:
    """Give all published revisions of a saved model, oldest first, once their chain is verified.

    Raises
    ------
    ModelError
        The model or the log is altered.
    """
    return ledger.history(folder, bundles.load(folder).policy)


def carry(old: LeadModel, new: LeadModel, hold: Hold) -> Carried:
    """Draft for a new model the policy that is in force for an old one, and say what changes.

    Parameters
    ----------
    old, new : LeadModel
    hold : {"fixed", "volume"}
        Keep the probabilities, or as many MQLs.

    Returns
    -------
    Carried
        Its `policy` is the draft, for `preview` and `publish`, of the revision in force for `new`.

    Raises
    ------
    DataError
        The policy is about a column that the new model does not have, or a model has no past.
    UsageError
        No thresholds of the new model send as many leads.
    """
    found = carried(old.policy, old.bundle.past, new.bundle.past, hold, columns=new.bundle.columns)
    return replace(found, policy=replace(found.policy, revision=new.policy.revision))


def fixed_threshold(
    classifier: Any, policy: Policy, stage: Literal["nurture", "mql", "sales_ready"] = "mql"
) -> "FixedThresholdClassifier":
    """Put a policy's threshold into scikit-learn's `FixedThresholdClassifier`.

    Parameters
    ----------
    classifier : fitted scikit-learn classifier
        With `predict_proba`, its second class the conversion.
    policy : Policy
    stage : {"mql", "nurture", "sales_ready"}
        From which stage on a lead is predicted to be of the second class.

    Returns
    -------
    FixedThresholdClassifier
        Fitted: its `predict` says who reaches the stage.

    Raises
    ------
    UsageError
        The policy is more than one threshold: it has rules, segments or hysteresis.

    Examples
    --------
    >>> import numpy as np
    >>> from leadscore import LogisticScorer
    >>> X, y = np.arange(200.0)[:, None], np.arange(200) % 4 > np.arange(200) // 100
    >>> scorer = LogisticScorer().fit(X, y)
    >>> mql = fixed_threshold(scorer, Policy(mql=0.6, sales_ready=0.9))
    >>> bool((mql.predict(X) == (scorer.predict_proba(X)[:, 1] >= 0.6)).all())
    True
    """
    from sklearn.frozen import FrozenEstimator
    from sklearn.model_selection import FixedThresholdClassifier

    more = {
        "rules": (*policy.suppress, *policy.fast_track),
        "segments": policy.segments,
        "hysteresis": policy.stay < 1,
        "a cool-down": policy.cool_down > 0,
    }
    has = [name for name, there in more.items() if there]
    if has:
        expected = "a policy that is one threshold a stage"
        raise UsageError(explain(expected, ", ".join(has), "use LeadModel.score, which applies all of it"))
    frozen = FrozenEstimator(classifier)
    line = policy.lines[stage]
    return FixedThresholdClassifier(
        frozen, threshold=line, pos_label=classifier.classes_[1], response_method="predict_proba"
    ).fit(None, classifier.classes_)


def _require_fit(draft: Policy, model: LeadModel) -> None:
    """Refuse a draft that cannot be applied, or has a new rule that could never hold."""
    require_fit(draft, model.bundle.columns)
    known = {*model.policy.suppress, *model.policy.fast_track}
    new = [rule for rule in (*draft.suppress, *draft.fast_track) if rule not in known]
    require_words(new, model.bundle.columns)


def _past(
    model: LeadModel, draft: Policy, capacity: float | None, by: Sequence[str]
) -> tuple[Preview | None, str]:
    """Replay the draft on the backtest, or say why that cannot be."""
    backtest = model.bundle.backtest
    if backtest is None:
        return None, "the model was made before any outcome was known"
    differ = unread(draft, backtest.columns) ^ unread(model.policy, backtest.columns)
    names = [f"the rule “{shown(rule.name)}”" for _, rule in sorted(differ, key=repr)]
    segments = {draft.segment, model.policy.segment} - {None, *backtest.categories}
    names += [f"the segment {shown(name)!r}" for name in sorted(map(str, segments))]
    if names:
        return None, f"the backtest did not keep what {' and '.join(names)} reads"
    return previews.preview(draft, model.policy, backtest, by=by, capacity=capacity), ""


def _effect(model: LeadModel, draft: Policy) -> dict[str, Any]:
    """Say for the record what is expected of a draft."""
    past, unseen = _past(model, draft, None, ())
    if past is None:
        return {"unseen": unseen}
    given = past.to_dict()
    return {name: given[name] for name in ("sentence", "in_force", "draft", "leads", "load", "warnings")}
