"""The one scoring path: load a model, then score tables, score one lead, or explain a score."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from leadscore import bundle as bundles
from leadscore.bundle import Bundle
from leadscore.errors import DataError, UsageError, explain, nearest, shown
from leadscore.explain.card import Explanation, driver_families, explanations
from leadscore.explain.drivers import DriverPoints, driver_points, family_sums
from leadscore.features.snapshot import Snapshot
from leadscore.features.view import View
from leadscore.models.calibration import log_odds_of
from leadscore.models.hazard import HazardForest
from leadscore.models.matrix import Floats
from leadscore.models.novelty import Familiar
from leadscore.models.uncertainty import Interval
from leadscore.policy.ledger import in_force
from leadscore.policy.policy import Policy
from leadscore.policy.previous import read_earlier, standing_of
from leadscore.policy.staging import Standing, lines_of, stage_reasons, stages

Moment: TypeAlias = datetime | str | int | None
_EARLIEST = 10**14  # microseconds: March 1973; what is smaller, or 100 times as large, counts another unit


@dataclass(frozen=True, slots=True)
class LeadScore:
    """One lead's score: the numbers that `LeadModel.score` gives for it.

    Parameters
    ----------
    lead_id : int or str
    probability : float
        The chance that the lead converts within the model's horizon.
    score : float
        0 to 100; 50 is a chance of 10 %, and every 8 points double the odds.
    stage : str
        unqualified, nurture, mql or sales_ready.
    fit, engagement : float
        Points of the score, against the typical lead's, from what the lead is and from what it did.
    findings : tuple of str
        What was left out or mended, in sentences: events of others, a value that is no number.
    also : mapping
        What was asked for beyond these, by the name of its column.
    """

    lead_id: int | str
    probability: float
    score: float
    stage: str
    fit: float
    engagement: float
    findings: tuple[str, ...] = ()
    also: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class LeadModel:
    """A loaded model: what pipelines hold.

    Parameters
    ----------
    bundle : Bundle
        The model as it was trained.
    policy : Policy
        The policy in force: the one published last, or the one the model was born with.
    """

    bundle: Bundle
    policy: Policy

    @property
    def needs_time(self) -> bool:
        """Whether a score is of a moment, so that `as_of` must be given."""
        return self.bundle.horizon is not None

    @property
    def needs_events(self) -> bool:
        """Whether events are a table of their own, so that they must be given, even if there are none."""
        contract = self.bundle.contract
        return contract.events is not None and not contract.event_log

    def score(
        self,
        leads: Any,
        events: Any = None,
        as_of: Moment = None,
        *,
        history: Any = None,
        previous: Any = None,
        also: Collection[str] = (),
        withhold: bool = False,
    ) -> pd.DataFrame:
        """Score a table of leads.

        Parameters
        ----------
        leads : DataFrame, Arrow table, path or list of dict
            The table as the project's config describes it, under its own column names.
        events : the same, optional
            What the leads did; needed by models that read events, `[]` if there are none. Anonymous events of
            the leads' visitors belong to them.
        as_of : datetime, str or int, optional
            The moment that the score is of, as a datetime, in ISO 8601 or in UTC microseconds; needed by
            models that read time. Events at or after it do not count.
        history : the same as `leads`, optional
            How attributes changed, so that each is the one before `as_of`; without it, each is as in `leads`.
        previous : the same as `leads`, optional
            Where leads stood before: ``lead_id``, ``stage`` and ``recycled_at`` (when a lead was given back),
            as an earlier `score` or a queue wrote it, or a list of such tables. The policy's hysteresis and
            cool-down look at it; a lead that is not in it is new.
        also : collection of str
            Further columns: ``interval`` (low and high, the 90 % interval of the probability), ``unlike``
            (whether the lead is unlike those of training, such as older than any of them), ``rank`` (1 is
            the best), and of a hazard model ``urgency`` (the share of the chance that falls in the next 7
            days) and ``expected_days`` (to the win of a lead that is won within the horizon).
        withhold : bool
            Where the model's chances have not proven to hold, give nan in place of probability and
            score, and say so in a column `calibrated`; the rank is then given too.

        Returns
        -------
        DataFrame of shape (n, 6 and more)
            lead_id, probability, score, stage, fit, engagement: one row a lead, in the order given. Leads
            that are one person, where the project says so, share the person's score.
            Leads that an event log knows to be closed by then are left out.
            ``frame.attrs["findings"]`` says in sentences which rows were left out or mended.

        Raises
        ------
        DataError
            The table breaks the contract.
        UsageError
            The model needs events or `as_of` and got none, a moment without a time zone, or a further column
            that this model has not.
        """
        further = self._further(also)
        rows, found = self.rows(leads, events, as_of, history)
        split = self.split(rows)
        standing, told = self.standing(rows, previous, as_of)
        frame = pd.DataFrame(self._scored(rows, split, standing))
        for give in further:
            frame = frame.assign(**give(self, rows, split))
        if withhold:
            frame["calibrated"] = self.bundle.calibrated
            if not self.bundle.calibrated:
                frame["rank"] = _rank(self, rows, split)["rank"]
                frame[["probability", "score", *(frame.columns.intersection(["low", "high"]))]] = np.nan
        frame.attrs["findings"] = [*found, *told]
        return frame

    def score_one(
        self,
        lead: Mapping[str, Any],
        events: Any = None,
        as_of: Moment = None,
        *,
        history: Any = None,
        previous: Any = None,
        also: Collection[str] = (),
    ) -> LeadScore:
        """Score one lead from plain values: the same numbers as `score`, to the last bit.

        Parameters
        ----------
        lead : mapping
            Column names to values; what is absent is missing.
        events : sequence of mapping, or a table, optional
        as_of : datetime, str or int, optional
        history : sequence of mapping, optional
        previous : sequence of mapping, or a table, optional
        also : collection of str
            As for `score`; of one lead there is no rank.

        Returns
        -------
        LeadScore

        Raises
        ------
        DataError
            The lead cannot be scored; the message says why.
        UsageError
            As `score`, or the lead is no mapping.
        """
        if not isinstance(lead, Mapping):
            do = "pass a dict of column names to values, or use score for a table"  # type: ignore[unreachable]
            raise UsageError(explain("one lead as a dict", type(lead).__name__, do))
        further = self._further(also)
        rows, found = self.rows([dict(lead)], events, as_of, history)
        if not len(rows):
            raise DataError(explain("a lead that can be scored", "; ".join(found) or "none", "mend it"))
        split = self.split(rows)
        standing, told = self.standing(rows, previous, as_of)
        values = {name: values.tolist()[0] for name, values in self._scored(rows, split, standing).items()}
        more = {
            name: column.tolist()[0] for give in further for name, column in give(self, rows, split).items()
        }
        return LeadScore(**values, findings=(*found, *told), also=more)

    def explain(
        self,
        leads: Any,
        events: Any = None,
        as_of: Moment = None,
        *,
        lead_id: int | str | None = None,
        history: Any = None,
        previous: Any = None,
    ) -> list[Explanation]:
        """Explain the score of each lead: reasons in points that add up to it exactly.

        Parameters
        ----------
        leads, events, as_of, history, previous
            As for `score`.
        lead_id : int or str, optional
            Explain this lead only.

        Returns
        -------
        list of Explanation
            One a lead, in the order given.

        Raises
        ------
        DataError
            The table breaks the contract, or there is no such lead.
        """
        rows, found = self.rows(leads, events, as_of, history)
        standing = self.standing(rows, previous, as_of)[0]
        if lead_id is not None:
            place = place_of(rows, lead_id, found)
            rows, standing = rows.take(place), None if standing is None else standing.take(place)
        return self.explained(rows, standing)

    def explained(self, rows: Snapshot, standing: Standing | None = None) -> list[Explanation]:
        """Explain rows that `rows` gave, of leads that stand where `standing` says."""
        bundle, split = self.bundle, self.split(rows)
        ruled = (self.policy, split.probability, *self.ruled(rows), standing)
        starts = bundle.scale.score(log_odds_of(lines_of(self.policy, *self.ruled(rows))))
        return explanations(
            rows.lead_id.tolist(),
            split,
            bundle.scorer,
            self.matrix(rows),
            features=bundle.features,
            typical=bundle.typical,
            cuts=bundle.cuts,
            stages=stages(*ruled).tolist(),
            stage_reasons=stage_reasons(*ruled, scale=None if bundle.calibrated else bundle.scale),
            horizon=bundle.horizon,
            as_of=None if rows.as_of is None else rows.as_of.tolist(),
            model=bundle.name,
            policy_revision=self.policy.revision,
            lines=[dict(zip(self.policy.lines, own, strict=True)) for own in starts.tolist()],
            calibrated=bundle.calibrated,
            phrases=bundle.phrases,
        )

    def standing(self, rows: Snapshot, previous: Any, as_of: Moment) -> tuple[Standing | None, list[str]]:
        """Say where the leads of `rows` stood before.

        Parameters
        ----------
        rows : Snapshot
        previous, as_of
            As for `score`.

        Returns
        -------
        Standing or None
            None where there is no table of before.
        list of str
            What of the table does not count.
        """
        if previous is None:
            return None, []
        contract = self.bundle.contract
        when = None if as_of is None else moment(as_of, contract.timezone)
        earlier = read_earlier(previous, contract, rows.lead_id, when)
        return standing_of(earlier, rows.group, when), list(earlier.findings)

    def rows(self, leads: Any, events: Any, as_of: Moment, history: Any) -> tuple[Snapshot, list[str]]:
        """Look at the leads as they were, and say what could not be looked at.

        Parameters
        ----------
        leads, events, as_of, history
            As for `score`.

        Returns
        -------
        Snapshot
            One row a lead, every feature a column.
        list of str
            Which rows of the tables were left out or mended.
        """
        if self.needs_time and as_of is None:
            do = "pass as_of, the moment that the scores are of"
            raise UsageError(explain("a moment, since this model reads time", "none", do))
        when = moment(as_of, self.bundle.contract.timezone) if self.needs_time else None
        if events is None and self.needs_events:
            do = "pass events (--events), or [] if there are none"
            raise UsageError(explain("the leads' events, since this model reads them", "none", do))
        return self._view.rows(leads, events, when, history)

    @cached_property
    def _view(self) -> View:
        return View(self.bundle.contract, self.bundle.features)

    def _further(self, also: Collection[str]) -> list["_Further"]:
        """Find what gives the further columns that were asked for, and refuse what this model has not."""
        has = {name: give for name, (is_there, give) in _FURTHER.items() if is_there(self.bundle)}
        asked = [also] if isinstance(also, str) else also
        for name in asked:
            if name not in has:
                expected = f"further columns that this model has ({', '.join(has)})"
                found = f"{shown(name)!r}{nearest(name, list(has))}"
                raise UsageError(explain(expected, found, "ask for one of them"))
        return [has[name] for name in asked]

    def _scored(
        self, rows: Snapshot, split: DriverPoints, standing: Standing | None
    ) -> dict[str, NDArray[Any]]:
        """Give the columns of `score`."""
        sums = family_sums(split.points, self._families)
        return {
            "lead_id": rows.lead_id,
            "probability": split.probability,
            "score": split.score,
            "stage": stages(self.policy, split.probability, *self.ruled(rows), standing),
            "fit": sums["fit"],
            "engagement": sums["engagement"],
        }

    @cached_property
    def _families(self) -> Sequence[str]:
        return driver_families(self.bundle.scorer, self.bundle.features)

    def split(self, rows: Snapshot) -> DriverPoints:
        """Split the scores of rows into points that add up to them."""
        bundle = self.bundle
        return driver_points(bundle.scorer, bundle.calibration, bundle.scale, self.matrix(rows))

    def matrix(self, rows: Snapshot) -> Floats:
        """Give the columns of rows that the scorer reads."""
        M: Floats = rows.matrix if self._places is None else rows.matrix.T.take(self._places, axis=0).T
        return M

    @cached_property
    def _places(self) -> NDArray[np.intp] | None:
        """Where the scorer's columns are among those of the features; None: the same in the same order."""
        place = {column: j for j, column in enumerate(self.bundle.columns)}
        places = np.array([place[column] for column in self.bundle.scorer.columns], np.intp)
        return None if np.array_equal(places, np.arange(len(place))) else places

    def ruled(self, rows: Snapshot) -> tuple[Any, Any]:
        """Give what the policy's rules look at: a matrix, and its columns."""
        return rows.matrix, self.bundle.columns


def _interval(model: LeadModel, _: Snapshot, split: DriverPoints) -> dict[str, NDArray[Any]]:
    low, high = cast(Interval, model.bundle.interval).bounds(split.log_odds)
    return {"low": low, "high": high}


def _unlike(model: LeadModel, rows: Snapshot, _: DriverPoints) -> dict[str, NDArray[Any]]:
    return {"unlike": cast(Familiar, model.bundle.familiar).unlike(model.matrix(rows))}


def _rank(_: LeadModel, __: Snapshot, split: DriverPoints) -> dict[str, NDArray[Any]]:
    """Rank leads, the best first; equal ones share the better rank."""
    worse = np.sort(-split.probability)
    return {"rank": worse.searchsorted(-split.probability, side="left") + 1}


def _urgency(model: LeadModel, rows: Snapshot, _: DriverPoints) -> dict[str, NDArray[Any]]:
    return {"urgency": cast(HazardForest, model.bundle.scorer).urgency(model.matrix(rows))}


def _expected_days(model: LeadModel, rows: Snapshot, _: DriverPoints) -> dict[str, NDArray[Any]]:
    return {"expected_days": cast(HazardForest, model.bundle.scorer).expected_days(model.matrix(rows))}


_Further: TypeAlias = Callable[[LeadModel, Snapshot, DriverPoints], dict[str, NDArray[Any]]]


def _has_hazards(bundle: Bundle) -> bool:
    return isinstance(bundle.scorer, HazardForest)


_FURTHER: Mapping[str, tuple[Callable[[Bundle], bool], _Further]] = {
    "interval": (lambda bundle: bundle.interval is not None, _interval),
    "unlike": (lambda bundle: bundle.familiar is not None, _unlike),
    "rank": (lambda _: True, _rank),
    "urgency": (_has_hazards, _urgency),
    "expected_days": (_has_hazards, _expected_days),
}


def load(
    folder: str | Path, *, manifest_sha256: str | None = None, policy_sha256: str | None = None
) -> LeadModel:
    """Load a saved model, verified, with the policy in force.

    Parameters
    ----------
    folder : path
        As `leadscore train --out` wrote it.
    manifest_sha256, policy_sha256 : str, optional
        Digests that are kept elsewhere: of the manifest, and of a published policy (`Entry.sha256`), which
        the log must still hold.

    Returns
    -------
    LeadModel

    Raises
    ------
    ModelError
        The model, or the log of its policies, is missing, altered or from a newer format.
    """
    bundle = bundles.load(folder, manifest_sha256=manifest_sha256)
    return LeadModel(bundle, in_force(folder, bundle.policy, sha256=policy_sha256))


def moment(as_of: Moment, timezone: str | None = None) -> int:
    """Read a moment as UTC microseconds.

    Parameters
    ----------
    as_of : datetime, str or int
    timezone : str, optional
        Of moments that carry none.

    Returns
    -------
    int

    Raises
    ------
    UsageError
        It does not read as a time, has no zone and none is declared, or is a number of seconds, milliseconds
        or nanoseconds.

    Examples
    --------
    >>> moment("2025-03-01T12:00:00+01:00")
    1740826800000000
    """
    if isinstance(as_of, int | np.integer) and not isinstance(as_of, bool):
        if not _EARLIEST <= as_of < 100 * _EARLIEST:
            do = "pass a datetime, or seconds times 1,000,000"
            raise UsageError(explain("as_of in UTC microseconds", shown(as_of), do))
        return int(as_of)
    try:
        # ISO 8601 only: pandas would also read 01/02/2025, one way or the other, and "now".
        stamp = pd.Timestamp(as_of if isinstance(as_of, datetime) else datetime.fromisoformat(str(as_of)))
        if stamp.tzinfo is None and timezone is not None:
            stamp = stamp.tz_localize(timezone)
        if pd.isna(stamp):
            raise ValueError
        return int(stamp.tz_convert(UTC).as_unit("us").asm8.astype(np.int64))  # `.value` is in nanoseconds
    except (ValueError, TypeError):
        do = "write it as 2025-03-01T12:00:00Z"
        raise UsageError(explain("as_of as a time with its zone", repr(shown(as_of)), do)) from None


def place_of(rows: Snapshot, lead_id: int | str, found: Sequence[str]) -> np.ndarray[Any, Any]:
    """Find one lead; ids are compared as text, since a command line knows nothing else.

    Parameters
    ----------
    rows : Snapshot
    lead_id : int or str
    found : sequence of str
        What was left out of the rows, for the message.

    Returns
    -------
    array of one place

    Raises
    ------
    DataError
        There is no such lead.
    """
    place = np.flatnonzero(rows.lead_id.astype(str) == str(lead_id))
    if not len(place):
        among = f"none among {len(rows.lead_id):,} leads that can be scored"
        do = "; ".join(["correct the id", *(what for what in found if what.startswith("leads: "))])
        raise DataError(explain(f"a lead {shown(lead_id)!r}", among, do))
    return place
