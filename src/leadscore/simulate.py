"""A B2B software company's leads with a known truth: the embedded default, and the oracle of many tests.

Each lead has a fixed *fit* and an *intent* that comes in pulses and fades. Intent and its slower trace,
*momentum*, drive what the lead does; fit and momentum drive the hazard of a win, more so for those who can
decide. So wins come weeks after the first interest, and old activity is worth nothing. Mid-sized companies
fit best. Students, competitors and bots are busy and never buy.
"""

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from leadscore.data.tables import Contract, EventColumns, OutcomeColumns
from leadscore.errors import UsageError, explain

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Grid = NDArray[np.float32]  # (days, leads)
Flags = NDArray[np.bool_]

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
NEVER = np.iinfo(np.int64).max
_TAIL_DAYS = (
    91  # the world goes on this long after the tables end, so that the truth knows what came of open leads
)

# --- what is planted ---
# name, share of leads, hazard multiplier, comes through the website, campaigns
_SOURCES: tuple[tuple[str, float, float, bool, tuple[str, ...]], ...] = (
    ("Organic Search", 0.24, 1.0, True, ()),
    ("Paid Search", 0.16, 0.8, True, ("ps-brand", "ps-category", "ps-competitor-terms")),
    ("Content Download", 0.17, 0.75, True, ("guide-forecasting", "guide-erp-checklist", "report-benchmarks")),
    ("Webinar", 0.11, 1.0, True, ("webinar-spring", "webinar-autumn")),
    ("Social Media", 0.11, 0.5, True, ("li-thought-leadership", "li-retargeting")),
    ("Trade Show", 0.08, 0.9, False, ("hannover-messe", "logimat")),
    ("Outbound List", 0.07, 0.3, False, ("list-q1", "list-q3")),
    ("Partner", 0.035, 1.5, True, ("partner-programme",)),
    ("Referral", 0.025, 5.0, True, ()),
)
# name, share of companies, hazard multiplier
_INDUSTRIES = (
    ("Manufacturing", 0.18, 1.4),
    ("Logistics", 0.12, 1.5),
    ("Wholesale", 0.09, 1.2),
    ("Retail", 0.11, 0.9),
    ("Software", 0.12, 0.75),
    ("Financial Services", 0.09, 0.7),
    ("Healthcare", 0.07, 0.7),
    ("Energy", 0.05, 1.1),
    ("Consulting", 0.06, 0.55),
    ("Media", 0.04, 0.5),
    ("Public Sector", 0.04, 0.5),
    ("Education", 0.025, 0.4),
    ("Planning Software", 0.005, 0.3),  # our competitors' own industry
)
# name, dialling code, share of companies, hazard multiplier
_COUNTRIES = (
    ("Germany", "49", 0.24, 1.2),
    ("United Kingdom", "44", 0.14, 1.1),
    ("France", "33", 0.12, 1.0),
    ("United States", "1", 0.13, 0.9),
    ("Netherlands", "31", 0.09, 1.2),
    ("Poland", "48", 0.08, 0.9),
    ("Austria", "43", 0.05, 1.1),
    ("Spain", "34", 0.05, 0.8),
    ("India", "91", 0.06, 0.5),
    ("Brazil", "55", 0.04, 0.5),
)
# seniority and department, share, power to decide (0 to 1), spellings
_TITLES: tuple[tuple[str, float, float, tuple[str, ...]], ...] = (
    (
        "c_level it",
        0.045,
        1.0,
        ("CIO", "Chief Information Officer", "C.I.O.", "CTO", "Chief Digital Officer"),
    ),
    (
        "c_level general",
        0.07,
        0.85,
        ("CEO", "Founder & CEO", "Owner", "Managing Director", "Geschäftsführer"),
    ),
    ("c_level finance", 0.025, 0.75, ("CFO", "Chief Financial Officer", "Finance Chief (CFO)")),
    (
        "vp operations",
        0.05,
        1.0,
        ("VP Operations", "Vice President of Operations", "SVP Supply Chain", "V.P. Ops"),
    ),
    ("vp marketing", 0.02, 0.45, ("VP Marketing", "Vice President, Marketing", "VP of Growth Marketing")),
    (
        "director it",
        0.07,
        1.0,
        ("IT Director", "Director of IT", "Head of IT", "IT-Leiter", "Directeur informatique"),
    ),
    (
        "director operations",
        0.07,
        0.95,
        ("Director of Operations", "Head of Supply Chain", "Leiterin Logistik"),
    ),
    (
        "director marketing",
        0.03,
        0.35,
        ("Marketing Director", "Head of Marketing", "Director, Digital Marketing"),
    ),
    (
        "manager operations",
        0.12,
        0.65,
        ("Operations Manager", "Supply Chain Manager", "Plant Manager", "Ops Mgr"),
    ),
    ("manager it", 0.10, 0.65, ("IT Manager", "Senior IT Manager", "IT Project Manager", "Manager IT")),
    ("manager sales", 0.05, 0.3, ("Sales Manager", "Key Account Manager", "Regional Sales Manager")),
    ("manager hr", 0.03, 0.15, ("HR Manager", "Talent Acquisition Manager", "People Manager")),
    (
        "specialist it",
        0.13,
        0.2,
        ("Software Engineer", "System Administrator", "Data Analyst", "Business Analyst"),
    ),
    (
        "specialist operations",
        0.10,
        0.25,
        ("Logistics Coordinator", "Demand Planner", "Process Engineer", "Buyer"),
    ),
    ("specialist marketing", 0.05, 0.08, ("Marketing Specialist", "Content Marketer", "SEO Specialist")),
    ("assistant office", 0.03, 0.08, ("Office Assistant", "Executive Assistant to the CEO", "Assistentin")),
    ("intern operations", 0.01, 0.02, ("Intern", "Praktikant", "Operations Intern", "Werkstudent Logistik")),
)
_STUDENT_TITLES = ("Student", "PhD Student", "MSc student", "Research Assistant", "Studentin", "Intern")
_BOT_TITLES = ("asdf", "SEO", "<script>alert(1)</script>", "test", "x", "=1+1", "Manager")
# segment, share, activity, hazard multiplier, daily hazard of being disqualified
_SEGMENTS = (
    ("buyer", 0.875, 1.0, 1.0, 0.0003),
    ("student", 0.055, 2.0, 0.0, 0.012),
    ("competitor", 0.03, 2.2, 0.0, 0.006),
    ("bot", 0.04, 2.2, 0.0, 0.020),
)
_BUYER, _STUDENT, _COMPETITOR, _BOT = range(4)

_PAGES = (
    "/", "/product", "/features", "/pricing", "/docs", "/case-studies", "/integrations", "/security",
    "/compare", "/contact", "/blog/forecasting-basics", "/blog/inventory-myths", "/careers", "/support",
    "/login",
)  # fmt: skip
# who looks at what, in the order of _PAGES
_INTERESTS = {
    "early": (20, 14, 9, 4, 3, 5, 3, 1, 2, 2, 16, 14, 3, 1, 1),
    "late": (8, 9, 9, 22, 7, 12, 10, 8, 7, 6, 2, 2, 0, 1, 1),
    "student": (12, 8, 6, 6, 12, 5, 2, 1, 3, 1, 20, 18, 14, 1, 0),
    "competitor": (8, 14, 16, 22, 16, 5, 8, 4, 8, 0, 3, 3, 6, 1, 0),
    "bot": (12, 8, 8, 10, 8, 8, 7, 6, 6, 12, 6, 6, 3, 4, 6),
    "customer": (4, 2, 3, 1, 18, 1, 6, 2, 0, 2, 3, 3, 1, 24, 30),
}
_ASSETS = ("guide-forecasting.pdf", "erp-checklist.xlsx", "benchmark-report.pdf", "roi-calculator.xlsx")
_QUERIES = ("price", "sap integration", "demand forecasting", "api", "gdpr", "case study", "jobs")
_WEBINARS = ("Forecasting in practice", "Planning with SAP", "Inventory without tears", "Customer panel")
_SMALL_PRICES = {"workshop": 290.0, "starter-pack": 490.0}  # what may be bought before the subscription
_NURTURE_DAYS = (1, 3, 7, 14, 28, 45)
_TYPES = (
    "email_sent", "email_open", "email_click", "page_view", "search", "share", "download", "webinar",
    "demo_request", "purchase", "email_bounce", "complaint", "unsubscribe", "sales_call", "sales_reply",
    "handover",
)  # fmt: skip
_CHANNELS = MappingProxyType(
    dict.fromkeys(_TYPES, "website")
    | dict.fromkeys((t for t in _TYPES if t.startswith("email")), "email")
    | {"complaint": "email", "unsubscribe": "email", "webinar": "webinar", "purchase": "shop"}
    | {"sales_call": "phone", "sales_reply": "email", "handover": "crm"}
)
# filling one of these in tells who the visitor is
_IDENTIFYING = ("email_click", "download", "webinar", "demo_request", "purchase")
_SIGNUP = "/signup"  # so does this page
# what the sales team's own rough score counts; it decides who is handed over
_SALES_POINTS = {"page_view": 0.5, "email_click": 2.0, "download": 3.0, "webinar": 5.0, "demo_request": 14.0}
_HANDOVER_AT = 22.0
_ACCEPTED_BOOST = 1.5

# by segment, and for a second record of a person already known
_DISQUALIFIED_REASONS = (
    ("Not our market", "D01"),
    ("Student", "D02"),
    ("Competitor", "D03"),
    ("Fake data", "D04"),
    ("Duplicate", "D05"),
)
_DUPLICATE = 4
_LOST_REASONS = (
    ("No budget", "L01"),
    ("Chose a competitor", "L02"),
    ("No response", "L03"),
    ("Bad timing", "L04"),
)
_HIDDEN_MISSING = "unknown"
CONTRACT = Contract(
    lead_id="lead_id",
    created_at="created_at",
    events=EventColumns(
        occurred_at="occurred_at",
        event_type="event_type",
        visitor_id="visitor_id",
        recorded_at="recorded_at",
        channel="channel",
        content="content",
        campaign="campaign",
        value="value",
    ),
    outcomes=OutcomeColumns(
        stage="stage",
        at="at",
        reason="reason",
        revenue="revenue",
        stages={
            "Closed Won": "won",
            "Closed Lost": "lost",
            "Disqualified": "disqualified",
            "Sales Accepted": "accepted",
            "Handed Over": "handed_over",
        },
    ),
    field_missing={"industry": (_HIDDEN_MISSING,)},
)
LEAKS = ("sales_notes_quality", "contract_owner", "lost_reason_code")
_SALES_REPS = ("A. Brandt", "M. Okafor", "J. Lindqvist", "R. Castellan", "S. Iyer", "T. Nowak")
_WIN_RATE = 0.0065  # a working day's hazard at fit 1, momentum 1 and pull 1
_ENDINGS = ("Closed Won", "Closed Lost", "Disqualified", "open")
_WON, _LOST, _DISQUALIFIED, _OPEN = range(4)
# share of the usual activity that goes on after each ending
_AFTER_CLOSING = (0.3, 0.35, 0.2, 1.0)

_INDUSTRY_NAMES = tuple(row[0] for row in _INDUSTRIES)
_PLANNING, _EDUCATION = _INDUSTRY_NAMES.index("Planning Software"), _INDUSTRY_NAMES.index("Education")
_OUTBOUND = [row[0] for row in _SOURCES].index("Outbound List")
_STRANGERS_COME_FROM = (0.35, 0.1, 0.3, 0.12, 0.13, 0, 0, 0, 0)  # students, competitors and bots, by source
_EARLY, _LATE = 0, 1  # rows of _INTERESTS; those of the other segments follow
# share of events that is written down hours later; 2 % of all others
_LATE_RECORDS = {"sales_call": 0.35, "sales_reply": 0.2, "webinar": 0.6}
# share of titles up to here, and what becomes of the spelling
_SPELLINGS: tuple[tuple[float, Callable[[str], str]], ...] = (
    (0.12, str.lower),
    (0.20, str.upper),
    (0.25, lambda text: f" {text} "),
    (0.30, lambda text: text.replace(" ", "  ")),
    (1.00, str),
)
# how a person spells e-mail and phone the second time
_RESPELL: tuple[tuple[Callable[[str], str], Callable[[str], str]], ...] = (
    (str.upper, lambda phone: phone.replace(" ", "")),
    (lambda email: f" {email.title()} ", lambda phone: "00" + phone[1:].replace(" ", "-")),
    (lambda email: email.replace("@", "+demo@"), lambda phone: phone.replace(" 555 ", " (555) ")),
)

_FIRST_NAMES = (
    "Alvo", "Brisa", "Cendra", "Dorin", "Elva", "Ferin", "Galia", "Hanno", "Ilse", "Jorin", "Kaela",
    "Lumo", "Mirel", "Nadja", "Orlo", "Petra", "Quin", "Runa", "Silvan", "Tavo", "Ulla", "Vesna", "Wim",
    "Xenia", "Yorik", "Zoë",
)  # fmt: skip
_LAST_NAMES = (
    "Ambrel", "Brindel", "Corvane", "Dastrel", "Ennik", "Falkor", "Gromley", "Haldane", "Istrel", "Jandor",
    "Kestrin", "Lorvane", "Morvek", "Nystrel", "Ostrin", "Pelgar", "Quarrel", "Rostin", "Skandel",
    "Tarvel", "Umbrin", "Voskamp", "Wendrel", "Yarvin", "Zeltner", "O'Mirren", "van Telk", "Müllrath",
)  # fmt: skip
_COMPANY_WORDS = (
    ("Norv", "Alter", "Brem", "Castr", "Duv", "Est", "Fenn", "Gard", "Helm", "Iv", "Jun", "Kron", "Lark",
     "Mondr", "Nov", "Orst", "Palm", "Quist", "Riv", "Solv", "Tresc", "Ulm", "Vant", "Wend", "Yarr", "Zell"),
    ("ik", "era", "ond", "el", "all", "aro", "ick", "an", "in", "ella", "om"),
    ("Components", "Logistics", "Foods", "Systems", "Stores", "Pharma", "Metals", "Textiles", "Media"),
    ("GmbH", "Ltd", "Inc.", "B.V.", "S.A.", "& Sons", "AG"),
)  # fmt: skip
_UNIVERSITIES = ("University of Brolin", "TU Estmark", "Nordhaven Business School", "Universidad de Calvera")
_COMPETITORS = ("Planora", "Quantlane", "ForecastIQ Labs", "SupplyMind")
_BOT_COMPANIES = (
    "asdf",
    "Best SEO 4U",
    '<a href="//spam.example">cheap</a>',
    '=HYPERLINK("//spam.example")',
    "N/A",
)
_FREE_MAIL = ("gmail.com", "outlook.com", "yahoo.com", "gmx.de", "hotmail.com", "web.de")


# --- what is given back ---
@dataclass(frozen=True)
class Truth:
    """What nobody in the simulated company can know; rows are in the order of ``World.leads``.

    Attributes
    ----------
    lead_id : array of str
        The leads, in order.
    start : int
        First moment of the grid of days, UTC microseconds.
    created_at, won_at, closed_at : int64 arrays
        UTC microseconds; ``NEVER`` where it does not happen within the grid, which goes on for 91 days after
        the tables end. ``closed_at`` is the end of an open lead, however it ends.
    fit : float64 array
        What multiplies the hazard of a win for as long as the lead lives; 0 for those who never buy.
    intent : float32 array (leads, days)
        Interest on each day; it drives what the lead does.
    won_hazard, lost_hazard : float32 arrays (leads, days)
        Hazard of a win, and of a loss or disqualification, on each day for an open lead; spread evenly over
        8 to 18 h UTC.
    segment : array of str
        buyer, student, competitor or bot.
    original : int64 array
        Row of the record that a duplicate repeats, -1 for all others.
    leaks : tuple of str
        Columns of the leads table that are filled in because of the outcome.
    causes : mapping
        Multiplier of the hazard of a win for each planted value, such as ``"source=Referral"``.
    """

    lead_id: NDArray[np.object_]
    start: int
    created_at: Ints
    won_at: Ints
    closed_at: Ints
    fit: Floats
    intent: Grid
    won_hazard: Grid
    lost_hazard: Grid
    segment: NDArray[np.object_]
    original: Ints
    leaks: tuple[str, ...]
    causes: Mapping[str, float]

    @property
    def duplicates(self) -> tuple[tuple[str, str], ...]:
        """Pairs of lead ids of one person: the first record and its repetition."""
        again = np.flatnonzero(self.original >= 0)
        return tuple(zip(self.lead_id[self.original[again]], self.lead_id[again], strict=True))

    def probability(self, as_of: int | Ints, horizon: float = 30.0) -> Floats:
        """Tell each lead's chance of a win within ``horizon`` days after ``as_of``.

        It knows fit and the whole course of intent, later pulses too: calibrated, and beyond any model.

        Parameters
        ----------
        as_of : int or int64 array of shape (leads,)
            UTC microseconds.
        horizon : float
            Days.

        Returns
        -------
        float64 array of shape (leads,)
            NaN for leads that are not created, or closed, at ``as_of``.

        Examples
        --------
        >>> world = simulate(leads=50, seed=1)
        >>> chance = world.truth.probability(world.end, horizon=30)
        >>> bool((chance[~np.isnan(chance)] < 1).all())
        True
        """
        as_of = np.broadcast_to(np.asarray(as_of, dtype=np.int64), self.created_at.shape)
        until = as_of + round(horizon * DAY)
        last = self.start + self.won_hazard.shape[1] * DAY
        if len(until) and (horizon < 0 or until.max() > last):
            raise UsageError(
                explain(
                    f"a horizon that ends by {_iso(last)}",
                    f"one that ends at {_iso(int(until.max()))}",
                    "choose an earlier as_of or a shorter horizon, or simulate more weeks",
                )
            )
        open_then = (self.created_at <= as_of) & (as_of < self.closed_at)
        total, won = self._curves
        gone, won_before = self._at(total, won, np.where(open_then, as_of, self.start))
        _, won_after = self._at(total, won, np.where(open_then, until, self.start))
        return np.where(open_then, (won_after - won_before) * np.exp(gone), np.nan)

    @cached_property
    def _curves(self) -> tuple[Floats, Floats]:
        """Cumulative hazard of any end and cumulative incidence of wins, (leads, midnights)."""
        total = np.zeros((len(self.fit), self.won_hazard.shape[1] + 1))
        np.cumsum(self.won_hazard + self.lost_hazard, axis=1, dtype=np.float64, out=total[:, 1:])
        won = np.zeros_like(total)
        np.cumsum(
            _share(self.won_hazard, self.lost_hazard) * -np.diff(np.exp(-total)), axis=1, out=won[:, 1:]
        )
        return total, won

    def _at(self, total: Floats, won: Floats, moment: Ints) -> tuple[Floats, Floats]:
        day, within = np.divmod(moment - self.start, DAY)
        day, row = np.minimum(day, self.won_hazard.shape[1] - 1), np.arange(len(day))
        within = np.where(moment - self.start >= (day + 1) * DAY, DAY, within)
        rate, other = self.won_hazard[row, day], self.lost_hazard[row, day]
        gone = total[row, day] + (rate.astype(np.float64) + other) * _office_hours(within)
        return gone, won[row, day] + _share(rate, other) * (np.exp(-total[row, day]) - np.exp(-gone))


@dataclass(frozen=True)
class World:
    """Three tables as a company would export them, how they read, and the truth beside them.

    Attributes
    ----------
    leads, events, outcomes : pyarrow.Table
        What was recorded before ``end``.
    truth : Truth
        What is behind them.
    contract : Contract
        How ``leadscore.data.tables.read_tables`` reads them.
    start, end : int
        The calendar window, UTC microseconds.
    """

    leads: pa.Table
    events: pa.Table
    outcomes: pa.Table
    truth: Truth
    contract: Contract
    start: int
    end: int

    def write(self, folder: str | Path) -> Path:
        """Write the three tables as Parquet, each beside its place first and then renamed.

        Examples
        --------
        >>> import tempfile
        >>> folder = simulate(leads=20, seed=1).write(tempfile.mkdtemp())
        >>> sorted(path.name for path in folder.iterdir())
        ['events.parquet', 'leads.parquet', 'outcomes.parquet']
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("leads", "events", "outcomes"):
            beside = folder / f".{name}.parquet.part"
            pq.write_table(getattr(self, name), beside)
            beside.replace(folder / f"{name}.parquet")
        return folder


def simulate(
    leads: int = 20_000,
    seed: int = 0,
    *,
    weeks: int = 52,
    start: datetime = datetime(2025, 1, 1, tzinfo=UTC),
) -> World:
    """Simulate a company's leads over a calendar window.

    Parameters
    ----------
    leads : int
        Rows of the leads table; about 3 % of them repeat an earlier one.
    seed : int
        The same seed gives the same world.
    weeks : int
        Length of the window.
    start : datetime
        First day of the window, with a time zone.

    Returns
    -------
    World
        Three tables, the contract that reads them, and the truth.

    Raises
    ------
    UsageError
        Fewer than one lead or week, or a ``start`` without a zone.

    Examples
    --------
    >>> world = simulate(leads=100, seed=1)
    >>> world.leads.num_rows, world.events.num_rows > 1_000
    (100, True)
    >>> sorted(set(world.outcomes["stage"].to_pylist()))
    ['Closed Lost', 'Closed Won', 'Disqualified', 'Handed Over', 'Sales Accepted']
    """
    if leads < 1 or weeks < 1 or start.tzinfo is None:
        found = f"leads={leads}, weeks={weeks}, start={start.isoformat()}"
        raise UsageError(
            explain("at least one lead and week, and a start with a time zone", found, "change the arguments")
        )
    rng = np.random.default_rng(seed)
    clock = _clock(start, weeks)
    people = _people(rng, leads, clock)
    scene = _Scene(rng, clock, people, *_interest(rng, people, clock))
    _sign_up(scene)
    _join_webinars(scene)
    _visit(scene, clicks=_mail(scene))
    handed, accepted = _hand_over(scene)
    _call(scene, handed)
    won_rate, lost_rate, spotted_rate = _hazards(scene, accepted)
    closed, ending = _close(scene, won_rate, lost_rate, spotted_rate)
    end = _End(handed, accepted, closed, ending, *_reasons(scene, ending), _revenue(scene))
    _serve_customers(scene, end)
    lead_id = _numbered("L", np.arange(leads), 6)
    created = {"lead_id": lead_id, "created_at": _times(clock, people.created)}
    return World(
        leads=pa.table(created | _attributes(scene) | _late_fields(scene, end)),
        events=_event_table(scene, end, lead_id),
        outcomes=_outcome_table(scene, end, lead_id),
        truth=Truth(
            lead_id=np.array(lead_id.to_pylist(), dtype=object),
            start=clock.start,
            created_at=clock.start + people.created,
            won_at=_absolute(clock, np.where(ending == _WON, closed, NEVER)),
            closed_at=_absolute(clock, closed),
            fit=people.fit,
            intent=scene.intent.T,
            won_hazard=won_rate.T,
            lost_hazard=(lost_rate + spotted_rate).T,
            segment=_words(_SEGMENTS, 0)[people.segment],
            original=people.original,
            leaks=LEAKS,
            causes=_causes(),
        ),
        contract=CONTRACT,
        start=clock.start,
        end=clock.start + clock.end,
    )


# --- who they are ---
@dataclass(frozen=True, slots=True)
class _Clock:
    """The calendar; inside this module times are microseconds since `start`."""

    start: int
    end: int
    days: int  # of the grid, the tail included
    weekday: Ints  # 0 is Monday

    def trade(self) -> Floats:
        """How much business each day sees: little at weekends and at the end of December."""
        dates = (self.start // DAY + np.arange(self.days)).astype("datetime64[D]")
        into_year = (dates - dates.astype("datetime64[Y]")).astype(np.int64)
        return np.where(self.weekday >= 5, 0.25, 1.3) * np.where(into_year >= 355, 0.4, 1.0)


@dataclass(frozen=True, slots=True)
class _People:
    """One entry a lead, in order of creation; the names of `_SEGMENTS` and so on are codes."""

    created: Ints
    original: Ints  # row of the first record of the same person, -1 for first records
    person: Ints
    segment: Ints
    source: Ints
    company: Ints
    industry: Ints
    country: Ints
    headcount: Floats
    title: Ints
    activity: Floats
    company_fit: Floats
    fit: Floats

    @property
    def power(self) -> Floats:
        return _numbers(_TITLES, 2)[self.title]

    @property
    def online(self) -> Flags:
        return np.array([row[3] for row in _SOURCES])[self.source]


def _clock(start: datetime, weeks: int) -> _Clock:
    first = int(start.timestamp()) * 1_000_000 // DAY * DAY
    days = weeks * 7 + _TAIL_DAYS
    return _Clock(first, weeks * 7 * DAY, days, (first // DAY + 3 + np.arange(days)) % 7)


def _people(rng: np.random.Generator, n: int, clock: _Clock) -> _People:
    """Draw persons, then let some of them come a second time."""
    again = round(0.03 * n)
    persons = n - again
    created = _in_office(rng, _pick(rng, clock.trade()[: clock.end // DAY], persons))
    twins = rng.choice(persons, again, replace=False)
    room = np.minimum(60 * DAY, clock.end - created[twins])
    created = np.append(created, created[twins] + (room * rng.uniform(0.02, 0.95, again)).astype(np.int64))
    order = np.argsort(created, kind="stable")
    person = np.append(np.arange(persons), twins)[order]
    first = np.zeros(persons, dtype=np.int64)
    first[person[order < persons]] = np.flatnonzero(order < persons)
    original = np.where(order < persons, -1, first[person])

    segment = _pick(rng, _numbers(_SEGMENTS, 1), persons)
    company = (rng.random(persons) ** 1.3 * max(1, persons // 2)).astype(np.int64)
    companies = int(company.max()) + 1
    industry = _pick(rng, _numbers(_INDUSTRIES, 1), companies)[company]
    industry[segment == _COMPETITOR] = _PLANNING
    industry[segment == _STUDENT] = _EDUCATION
    country = _pick(rng, _numbers(_COUNTRIES, 2), companies)[company]
    headcount = np.clip(10 ** rng.normal(2.2, 0.8, companies), 1, 250_000).round()[company]
    source = _pick(rng, _numbers(_SOURCES, 1), persons)
    source = np.where(segment == _BUYER, source, _pick(rng, _STRANGERS_COME_FROM, persons))
    company_fit = (
        _numbers(_INDUSTRIES, 2)[industry]
        * _numbers(_COUNTRIES, 3)[country]
        * (0.25 + 1.3 * np.exp(-0.5 * ((np.log10(headcount) - 2.4) / 0.55) ** 2))
    )
    fit = company_fit * _numbers(_SEGMENTS, 3)[segment] * _numbers(_SOURCES, 2)[source]
    fit = fit * rng.lognormal(0, 0.2, persons)
    return _People(
        created=created[order],
        original=original,
        person=person,
        segment=segment[person],
        source=source[person],
        company=company[person],
        industry=industry[person],
        country=country[person],
        headcount=headcount[person],
        title=_pick(rng, _numbers(_TITLES, 1), persons)[person],
        activity=(_numbers(_SEGMENTS, 2)[segment] * rng.lognormal(0, 0.4, persons))[person],
        company_fit=company_fit[person],
        fit=np.where(original < 0, fit[person], 0.0),  # the sale is booked on the first record
    )


# --- what drives them ---
@dataclass(frozen=True, slots=True)
class _Happened:
    """Events as parallel arrays; -1 and NaN are missing.

    After its lead closed, an event happens only if its luck is below the share of `_AFTER_CLOSING`.
    """

    type: Ints
    lead: Ints
    at: Ints
    luck: Floats
    device: Ints
    content: Ints
    campaign: Ints
    value: Floats


@dataclass(frozen=True, slots=True)
class _Scene:
    """Everybody, what drives them, and what happened so far."""

    rng: np.random.Generator
    clock: _Clock
    people: _People
    intent: Grid
    momentum: Grid
    parts: list[_Happened] = field(default_factory=list)
    words: dict[str, int] = field(default_factory=dict)

    def codes(self, words: Sequence[str]) -> Ints:
        return np.array([self.words.setdefault(word, len(self.words)) for word in words], dtype=np.int64)

    def any_of(self, words: Sequence[str], size: int) -> Ints:
        return self.codes(words)[self.rng.integers(len(words), size=size)]

    def note(self, kind: str, lead: Ints, at: Ints, **more: float | Ints | Floats) -> None:
        """Note events of one type; columns that are not given are missing, and luck is the best."""
        given = {
            "type": _TYPES.index(kind),
            "luck": 0.0,
            "device": -1,
            "content": -1,
            "campaign": -1,
            "value": np.nan,
        }
        columns = {name: np.broadcast_to(value, lead.shape) for name, value in (given | more).items()}
        self.parts.append(_Happened(lead=lead, at=at, **columns))

    def happened(self) -> _Happened:
        return _Happened(
            *(np.concatenate([getattr(p, f.name) for p in self.parts]) for f in fields(_Happened))
        )


@dataclass(frozen=True, slots=True)
class _End:
    """What came of each lead: moments (or NEVER), a code of `_ENDINGS`, why, and money if won."""

    handed: Ints
    accepted: Ints
    closed: Ints
    ending: Ints
    reason: pa.Array
    code: pa.Array
    revenue: Floats


def _interest(rng: np.random.Generator, people: _People, clock: _Clock) -> tuple[Grid, Grid]:
    """Intent: pulses that fade within days. Momentum: its slow trace, which buying follows."""
    n = len(people.created)
    intent = np.zeros((clock.days, n), dtype=np.float32)
    born = people.created // DAY
    first = np.maximum(born - rng.geometric(0.15, n) + 1, 0)
    np.add.at(intent, (first, np.arange(n)), rng.gamma(0.45, 3.6, n))
    again = rng.poisson((clock.days - born) * rng.gamma(1.0, 1 / 110, n))
    who = np.repeat(np.arange(n), again)
    later = born[who] + 1 + (rng.random(len(who)) * (clock.days - born[who] - 1)).astype(np.int64)
    np.add.at(intent, (later, who), rng.gamma(0.45, 2.5, len(who)))
    intent[:, people.segment == _BOT] = 0
    twin = people.original >= 0
    intent[:, twin] = intent[:, people.original[twin]]
    momentum = np.zeros_like(intent)
    for day in range(1, clock.days):
        intent[day] += 0.89 * intent[day - 1]
        momentum[day] = 0.95 * momentum[day - 1] + 0.12 * intent[day - 1]
    return intent, momentum


def _hazards(scene: _Scene, accepted: Ints) -> tuple[Grid, Grid, Grid]:
    """Daily hazards of a win, a loss and a disqualification for open leads: float32 (days, leads)."""
    people, momentum = scene.people, scene.momentum
    day = np.arange(scene.clock.days)[:, None]
    trade = _narrow(scene.clock.trade())[:, None]
    wanted = people.company_fit**2 / (0.5 + people.company_fit**2)
    pull = _narrow(0.15 + 1.6 * people.power * wanted)
    helped = np.where(day > accepted // DAY, np.float32(_ACCEPTED_BOOST), np.float32(1))
    won = trade * _narrow(_WIN_RATE * people.fit) * (0.04 + momentum * pull) * helped
    age = _narrow(day - people.created // DAY)
    lost = trade * np.float32(0.0055) * np.exp(-2 * momentum) * np.clip(age / 30, 0, 1)
    spotted = _narrow(np.where(people.original < 0, _numbers(_SEGMENTS, 4)[people.segment], 0.02))
    alive = age >= 0
    return won * alive, lost * alive, trade * spotted * alive


def _close(scene: _Scene, *rates: Grid) -> tuple[Ints, Ints]:
    """Draw when and how each lead ends, by inverting the cumulative hazard of its ends together."""
    created = scene.people.created
    who = np.arange(len(created))
    total = np.zeros((scene.clock.days + 1, len(created)))
    np.cumsum(sum(rates), axis=0, dtype=np.float64, out=total[1:])
    day, within = np.divmod(created, DAY)
    level = total[day, who] + (total[day + 1, who] - total[day, who]) * _office_hours(within)
    level += scene.rng.exponential(size=len(created))
    day = np.minimum((total[1:] < level).sum(axis=0), scene.clock.days - 1)
    share = (level - total[day, who]) / np.maximum(total[day + 1, who] - total[day, who], 1e-300)
    closed = np.where(level <= total[-1], day * DAY + _from_office_hours(share), NEVER)
    edges = np.cumsum([rate[day, who] for rate in rates], axis=0, dtype=np.float64)
    ending = (scene.rng.random(len(created)) * edges[-1] >= edges[:-1]).sum(axis=0)
    return closed, np.where(closed == NEVER, _OPEN, ending)


def _causes() -> Mapping[str, float]:
    causes = {f"source={row[0]}": row[2] for row in _SOURCES}
    causes |= {f"industry={row[0]}": row[2] for row in _INDUSTRIES}
    causes |= {f"country={row[0]}": row[3] for row in _COUNTRIES}
    causes |= {f"segment={row[0]}": row[3] for row in _SEGMENTS}
    return MappingProxyType(causes | {"stage=Sales Accepted": _ACCEPTED_BOOST})


# --- what they do, as if no lead ever closed; the event table takes out what closing stops ---
def _sign_up(scene: _Scene) -> None:
    """Each lead from the website becomes known by a form: an asset, a webinar or the sign-up page."""
    people = scene.people
    source = _words(_SOURCES, 0)[people.source]
    for kind, words, uses in (
        ("download", _ASSETS, source == "Content Download"),
        ("webinar", _WEBINARS, source == "Webinar"),
        ("page_view", (_SIGNUP,), people.online & ~np.isin(source, ("Content Download", "Webinar"))),
    ):
        who = np.flatnonzero(uses)
        scene.note(kind, who, people.created[who], device=0, content=scene.any_of(words, len(who)))


def _mail(scene: _Scene) -> tuple[Ints, Ints, Floats]:
    """Send mail and let leads react; returns lead, moment and luck of the clicks that open a visit."""
    rng, people = scene.rng, scene.people
    lead, at, campaign = _sendings(scene)
    interest = scene.intent[at // DAY, lead].astype(np.float64)
    invalid_share = np.select([people.segment == _BOT, people.source == _OUTBOUND], [0.35, 0.15], 0.015)
    invalid = (rng.random(len(people.created)) < invalid_share)[lead]
    bored = rng.random(len(lead)) < 0.006 / (1 + 4 * interest) * (people.segment[lead] != _BOT) * ~invalid
    stopped = np.full(len(people.created), NEVER)
    np.minimum.at(stopped, lead[bored], at[bored])
    sent = (at <= stopped[lead]) & ~(
        invalid & (_place(lead) >= 2)
    )  # two bounces, and the address is given up
    lead, at, campaign = lead[sent], at[sent], campaign[sent]
    interest, invalid, bored = interest[sent], invalid[sent], bored[sent]
    luck = rng.random(len(lead))

    def note(kind: str, which: Flags, moment: Ints, device: int | Ints = -1) -> None:
        shown = np.broadcast_to(device, lead.shape)[which]
        scene.note(kind, lead[which], moment[which], luck=luck[which], campaign=campaign[which], device=shown)

    note("email_sent", np.ones(len(lead), dtype=bool), at)
    note("email_bounce", invalid, at + MINUTE)
    note("unsubscribe", bored, at + HOUR)
    note("complaint", bored & (rng.random(len(lead)) < 0.12), at + 2 * HOUR)

    # Some mail programs open everything, and some gateways click on everything within seconds.
    opens_all = (rng.random(len(people.created)) < 0.12)[lead]
    gateway = (rng.random(len(people.created)) < np.where(people.segment == _BOT, 0.4, 0.035))[lead]
    habit = rng.normal(-1.6, 0.8, len(people.created))[lead]
    chance = 1 / (1 + np.exp(-habit - 1.2 * np.log1p(2 * interest)))
    opened = ~invalid & (rng.random(len(lead)) < np.where(opens_all | gateway, 0.95, chance))
    seen = at + np.where(gateway, 2 * SECOND, rng.exponential(5 * HOUR, len(lead))).astype(np.int64)
    note("email_open", opened, seen)
    reads = opened & (rng.random(len(lead)) < (0.08 + 0.6 * interest / (1 + interest)) * chance)
    note(
        "email_click",
        opened & (reads | gateway),
        seen + SECOND,
        np.where(gateway, -1, _device(rng, len(lead))),
    )
    visits = reads & ~gateway & (seen < (scene.clock.days - 1) * DAY)
    return lead[visits], seen[visits] + 5 * SECOND, luck[visits]


def _sendings(scene: _Scene) -> tuple[Ints, Ints, Ints]:
    """Lead, moment and campaign of each newsletter and nurture mail, ordered by lead and time."""
    clock, created = scene.clock, scene.people.created
    n = len(created)
    letters = np.flatnonzero((clock.weekday == 1) & (np.arange(clock.days) // 7 % 2 == 0))
    names = [f"newsletter-{k + 1:02d}" for k in range(len(letters))]
    names += [f"nurture-{k + 1}" for k in range(len(_NURTURE_DAYS))]
    at = np.concatenate(
        [
            np.broadcast_to(letters[:, None] * DAY + 9 * HOUR, (len(letters), n)),
            created + np.array(_NURTURE_DAYS)[:, None] * DAY,
        ]
    )
    at = at + scene.rng.integers(MINUTE, 20 * MINUTE, at.shape)
    which, lead = np.nonzero((at > created) & (at < clock.days * DAY))
    order = np.lexsort((at[which, lead], lead))
    which, lead = which[order], lead[order]
    return lead, at[which, lead], scene.codes(names)[which]


def _join_webinars(scene: _Scene) -> None:
    rng, clock, people = scene.rng, scene.clock, scene.people
    evenings = np.flatnonzero((clock.weekday == 3) & (np.arange(clock.days) // 7 % 2 == 1))
    interest = scene.intent[evenings]
    chance = np.where(people.segment == _STUDENT, 0.04, 0.006) + 0.06 * interest / (1 + interest)
    chance *= (people.segment != _BOT) & (evenings[:, None] > people.created // DAY)
    which, lead = np.nonzero(rng.random(chance.shape) < chance)
    at = evenings[which] * DAY + 14 * HOUR + rng.integers(0, 10 * MINUTE, len(lead))
    content = scene.codes(_WEBINARS)[which % len(_WEBINARS)]
    scene.note(
        "webinar", lead, at, luck=rng.random(len(lead)), device=_device(rng, len(lead)), content=content
    )


def _visit(scene: _Scene, clicks: tuple[Ints, Ints, Floats]) -> None:
    """Visits to the website: pages, searches, shares, downloads, requests for a demo, small purchases."""
    rng, people = scene.rng, scene.people
    day, lead = _arrivals(rng, _visit_rates(scene))
    lead = np.append(lead, clicks[0])
    at = np.append(_in_office(rng, day), clicks[1])
    luck = np.append(rng.random(len(day)), clicks[2])
    possible = people.online[lead] | (at >= people.created[lead])
    at, luck, lead = at[possible], luck[possible], _split(scene, lead[possible], at[possible])
    device, segment = _device(rng, len(lead)), people.segment[lead]
    momentum = scene.momentum[at // DAY, lead].astype(np.float64)
    late = (momentum / (1 + momentum)) ** 1.5  # how far they are on the way to buying

    pages = rng.geometric(np.where(segment == _BOT, 0.2, 0.38))
    visit = np.repeat(np.arange(len(lead)), pages)
    seen = at[visit] + _place(visit) * 50 * SECOND + rng.integers(0, 50 * SECOND, len(visit))
    buying = np.where(rng.random(len(visit)) < 0.06 + 0.7 * late[visit], _LATE, _EARLY)
    taste = np.where(segment[visit] == _BUYER, buying, segment[visit] + _LATE)
    content = _pages(scene, taste)
    scene.note("page_view", lead[visit], seen, luck=luck[visit], device=device[visit], content=content)

    known, student, buyer = at >= people.created[lead], segment == _STUDENT, segment == _BUYER
    for kind, chance, words in (
        ("search", 0.12, _QUERIES),
        ("share", np.where(student, 0.05, 0.015), ()),
        ("download", known * np.where(student, 0.16, 0.10 - 0.05 * late), _ASSETS),
        ("demo_request", known * np.where(buyer, 0.08 * late, 0.004), ()),
        ("purchase", known * buyer * 0.012 * late, tuple(_SMALL_PRICES)),
    ):
        hit = np.flatnonzero(rng.random(len(lead)) < chance)
        when = at[hit] + rng.integers(MINUTE, 10 * MINUTE, len(hit))
        which = rng.integers(max(len(words), 1), size=len(hit))
        content = scene.codes(words)[which] if words else np.full(len(hit), -1)
        value = np.array(list(_SMALL_PRICES.values()))[which] if kind == "purchase" else np.nan
        scene.note(kind, lead[hit], when, luck=luck[hit], device=device[hit], content=content, value=value)


def _visit_rates(scene: _Scene) -> Grid:
    """Visits a day, (days, leads): from two weeks before a lead signs up on the website."""
    people = scene.people
    age = np.arange(scene.clock.days)[:, None] - people.created // DAY
    idle = np.where(people.segment == _COMPETITOR, 0.035, 0.005)
    rate = _narrow(people.activity * idle) + _narrow(0.10 * people.activity) * (scene.intent + scene.momentum)
    bots = people.segment == _BOT
    rate[:, bots] = people.activity[bots] * 0.22 * np.exp(-np.maximum(age[:, bots], 0) / 20)
    rate *= _narrow(scene.clock.trade())[:, None] * (age >= np.where(people.online, -14, 0))
    rate[:, people.original >= 0] = 0  # a person visits once, on whichever record it is booked
    return rate


def _serve_customers(scene: _Scene, end: _End) -> None:
    """Bring customers back for other things, and let them pay: whoever peeks past a win sees it."""
    rng = scene.rng
    customers = np.flatnonzero(end.ending == _WON)
    won, revenue = end.closed[customers], end.revenue[customers]
    stay = scene.clock.days * DAY - won

    def moments(daily: float) -> tuple[Ints, Ints]:
        who = np.repeat(np.arange(len(customers)), rng.poisson(stay / DAY * daily))
        return who, won[who] + (rng.random(len(who)) * stay[who]).astype(np.int64)

    who, at = moments(0.3)
    content = _pages(scene, np.full(len(who), list(_INTERESTS).index("customer")))
    scene.note("page_view", customers[who], at, device=_device(rng, len(who)), content=content)
    who, at = moments(1 / 120)
    seats = scene.codes(("extra-seats",))[0]
    scene.note(
        "purchase", customers[who], at, device=0, content=seats, value=np.round(revenue[who] * 0.1, -1)
    )
    pays = rng.random(len(customers)) < 0.7
    at = won[pays] + rng.integers(5 * MINUTE, 3 * HOUR, pays.sum())
    subscription = scene.codes(("subscription",))[0]
    scene.note("purchase", customers[pays], at, device=0, content=subscription, value=revenue[pays])


# --- what sales does ---
def _hand_over(scene: _Scene) -> tuple[Ints, Ints]:
    """Hand leads over when the team's rough score says so; sales accepts some of them."""
    rng, clock, people = scene.rng, scene.clock, scene.people
    n = len(people.created)
    seen = scene.happened()
    worth = np.array([_SALES_POINTS.get(kind, 0.0) for kind in _TYPES])[seen.type]
    counts = (worth > 0) & (seen.at >= people.created[seen.lead]) & (seen.at < clock.days * DAY)
    cell = seen.at[counts] // DAY * n + seen.lead[counts]
    daily = np.bincount(cell, worth[counts], minlength=clock.days * n).reshape(clock.days, n)
    rank = 0.6 + 0.7 * people.power  # they look at the title too
    score, handed = np.zeros(n), np.full(n, NEVER)
    for day in range(clock.days - 1):
        score = 0.96 * score + daily[day]
        if clock.weekday[day + 1] < 5:
            handed[(score * rank >= _HANDOVER_AT) & (handed == NEVER)] = (day + 1) * DAY
    missed = (handed == NEVER) | (rng.random(n) < 0.15)
    handed = np.where(missed, 0, handed) + rng.integers(8 * HOUR, 17 * HOUR, n)
    scene.note("handover", np.flatnonzero(~missed), handed[~missed], luck=1.0)
    willing = rng.random(n) < np.where(people.segment == _BUYER, 0.25 + 0.5 * people.power, 0.2)
    accepted = handed + rng.integers(2 * HOUR, 5 * DAY, n)
    return np.where(missed, NEVER, handed), np.where(~missed & willing, accepted, NEVER)


def _call(scene: _Scene, handed: Ints) -> None:
    """Call the leads that were handed over; the interested reply."""
    rng, clock = scene.rng, scene.clock
    lead = np.flatnonzero(handed != NEVER)
    lead = np.repeat(lead, 1 + rng.poisson(1.6, len(lead)))
    day = handed[lead] // DAY + 1 + rng.exponential(6, len(lead)).astype(np.int64)
    inside = day < clock.days - 7
    lead, day = lead[inside], day[inside]
    day = day + np.maximum(7 - clock.weekday[day], 0) * (clock.weekday[day] >= 5)
    at = day * DAY + rng.integers(8 * HOUR, 17 * HOUR, len(lead))
    scene.note("sales_call", lead, at, luck=1.0)
    interest = scene.intent[day, lead]
    replies = rng.random(len(lead)) < 0.12 + 0.5 * interest / (1 + interest)
    reply_at = at[replies] + rng.integers(HOUR, 2 * DAY, replies.sum())
    scene.note("sales_reply", lead[replies], reply_at, luck=1.0)


# --- what is written down ---
def _event_table(scene: _Scene, end: _End, lead_id: pa.Array) -> pa.Table:
    """Keep what still happens and is recorded before the end; hide the lead until its visitor is known."""
    rng, clock = scene.rng, scene.clock
    happened = scene.happened()
    still = happened.luck < np.array(_AFTER_CLOSING)[end.ending][happened.lead]
    late_share = np.array([_LATE_RECORDS.get(kind, 0.02) for kind in _TYPES])[happened.type]
    late = rng.random(len(still)) < late_share
    recorded = happened.at + late * rng.integers(HOUR, 30 * HOUR, len(still))
    order = np.argsort(happened.at, kind="stable")
    order = order[((still | (happened.at < end.closed[happened.lead])) & (recorded < clock.end))[order]]
    now = _Happened(*(getattr(happened, f.name)[order] for f in fields(_Happened)))

    visitors = 2 * (int(scene.people.person.max()) + 1)
    visitor = np.where(now.device >= 0, 2 * scene.people.person[now.lead] + now.device, -1)
    forms = np.array([kind in _IDENTIFYING for kind in _TYPES])
    tells = (visitor >= 0) & (forms[now.type] | (now.content == scene.codes((_SIGNUP,))[0]))
    met = np.full(visitors, NEVER)
    np.minimum.at(met, visitor[tells], now.at[tells])
    known = (visitor < 0) | (now.at >= met[visitor])
    labels = _numbered("v", rng.permutation(visitors), 7)
    words = pa.array(list(scene.words))
    return pa.table(
        {
            "event_id": _numbered("E", np.arange(len(order)), 8),
            "lead_id": _take(lead_id, now.lead, known),
            "visitor_id": _take(labels, visitor, visitor >= 0),
            "occurred_at": _times(clock, now.at),
            "recorded_at": _times(clock, recorded[order]),
            "event_type": _take(pa.array(_TYPES), now.type),
            "channel": _take(pa.array([_CHANNELS[kind] for kind in _TYPES]), now.type),
            "content": _take(words, now.content, now.content >= 0),
            "campaign": _take(words, now.campaign, now.campaign >= 0),
            "value": pa.array(now.value, from_pandas=True),
        }
    )


def _outcome_table(scene: _Scene, end: _End, lead_id: pa.Array) -> pa.Table:
    """One row a step that was taken before the end: handed over, accepted, closed."""
    clock = scene.clock
    steps = [
        np.flatnonzero(end.handed < np.minimum(end.closed, clock.end)),
        np.flatnonzero(end.accepted < np.minimum(end.closed, clock.end)),
        np.flatnonzero(end.closed < clock.end),
    ]
    lead = np.concatenate(steps)
    at = np.concatenate([end.handed[steps[0]], end.accepted[steps[1]], end.closed[steps[2]]])
    stage = np.concatenate([np.full(len(steps[0]), 0), np.full(len(steps[1]), 1), 2 + end.ending[steps[2]]])
    order = np.lexsort((stage, at))
    lead, at, stage = lead[order], at[order], stage[order]
    return pa.table(
        {
            "lead_id": _take(lead_id, lead),
            "stage": _take(pa.array(("Handed Over", "Sales Accepted", *_ENDINGS)), stage),
            "at": _times(clock, at),
            "reason": _take(end.reason, lead, stage >= 2),
            "revenue": pa.array(np.where(stage == 2 + _WON, end.revenue[lead], np.nan), from_pandas=True),
        }
    )


def _reasons(scene: _Scene, ending: Ints) -> tuple[pa.Array, pa.Array]:
    """Why a lead was lost or disqualified, in words and as the CRM's code; null for all others."""
    people = scene.people
    lost = scene.rng.integers(len(_LOST_REASONS), size=len(ending))
    spotted = len(_LOST_REASONS) + np.where(people.original < 0, people.segment, _DUPLICATE)
    which = np.where(ending == _LOST, lost, spotted)
    bad = (ending == _LOST) | (ending == _DISQUALIFIED)
    words, codes = zip(*_LOST_REASONS, *_DISQUALIFIED_REASONS, strict=True)
    return _take(pa.array(words), which, bad), _take(pa.array(codes), which, bad)


def _revenue(scene: _Scene) -> Floats:
    size = scene.people.headcount
    return np.round(900 * size**0.55 * scene.rng.lognormal(0, 0.35, len(size)), -1)


def _attributes(scene: _Scene) -> dict[str, pa.Array]:
    """Fill in the forms: varied spellings, gaps, and other spellings where a person came twice."""
    rng, people = scene.rng, scene.people
    sloppy = np.where(people.segment == _BUYER, 1.0, 1.8)

    def with_gaps(values: NDArray[Any], share: float) -> pa.Array:
        return pa.array(values, mask=rng.random(len(values)) < share * sloppy)

    emails, phones = _addresses(scene)
    industry = _words(_INDUSTRIES, 0)[people.industry]
    industry[rng.random(len(industry)) < 0.10 * sloppy] = _HIDDEN_MISSING
    lots = zip(people.source.tolist(), rng.random(len(people.source)).tolist(), strict=True)
    campaigns = [c[int(lot * len(c))] if (c := _SOURCES[source][4]) else None for source, lot in lots]
    return {
        "email": pa.array(emails),
        "phone": with_gaps(phones, 0.45),
        "job_title": with_gaps(_titles(scene), 0.09),
        "company": with_gaps(_companies(people), 0.08),
        "industry": with_gaps(industry, 0.05),
        "company_size": with_gaps(people.headcount.astype(np.int64), 0.18),
        "country": with_gaps(_words(_COUNTRIES, 0)[people.country], 0.04),
        "source": pa.array(_words(_SOURCES, 0)[people.source]),
        "campaign": pa.array(campaigns, pa.string()),
    }


def _companies(people: _People) -> NDArray[np.object_]:
    special: dict[int, tuple[str, ...]] = {
        _STUDENT: _UNIVERSITIES,
        _COMPETITOR: _COMPETITORS,
        _BOT: _BOT_COMPANIES,
    }
    names = []
    for segment, code in zip(people.segment.tolist(), people.company.tolist(), strict=True):
        own = special.get(segment)
        names.append(own[code % len(own)] if own else " ".join(_company(code)))
    return np.array(names, dtype=object)


def _company(code: int) -> tuple[str, str, str]:
    """Name a company: made-up name, trade and legal form, all different for the first 18,018."""
    more, code = divmod(code, 18_018)
    code = code * 7919 % 18_018  # 7919 is prime: neighbours do not look alike
    parts = []
    for words in _COMPANY_WORDS:
        code, k = divmod(code, len(words))
        parts.append(words[k])
    return parts[0] + parts[1] + (str(more) if more else ""), parts[2], parts[3]


def _titles(scene: _Scene) -> NDArray[np.object_]:
    special: dict[int, tuple[str, ...]] = {_STUDENT: _STUDENT_TITLES, _BOT: _BOT_TITLES}
    lots = scene.rng.random((len(scene.people.title), 2)).tolist()
    titles = []
    for segment, title, (word, spelling) in zip(
        scene.people.segment.tolist(), scene.people.title.tolist(), lots, strict=True
    ):
        words = special[segment] if segment in special else _TITLES[title][3]
        respell = next(change for share, change in _SPELLINGS if spelling < share)
        titles.append(respell(words[int(word * len(words))]))
    return np.array(titles, dtype=object)


def _addresses(scene: _Scene) -> tuple[NDArray[np.object_], NDArray[np.object_]]:
    """E-mail and phone, one of each a person; a duplicate spells them in another way."""
    rng, people = scene.rng, scene.people
    n = len(people.created)
    first, last = rng.integers(len(_FIRST_NAMES), size=n), rng.integers(len(_LAST_NAMES), size=n)
    free = rng.random(n) < np.array([0.18, 0.75, 0.3, 0.9])[people.segment]
    provider, spelling = rng.integers(len(_FREE_MAIL), size=n), rng.integers(len(_RESPELL), size=n)
    emails: list[str] = []
    phones: list[str] = []
    taken: set[str] = set()
    for row, original in enumerate(people.original.tolist()):
        if original >= 0:
            email, phone = _RESPELL[spelling[row]]
            emails.append(email(emails[original]))
            phones.append(phone(phones[original]))
            continue
        name = _address_part(f"{_FIRST_NAMES[first[row]]}.{_LAST_NAMES[last[row]]}")
        domain = _address_part("-".join(_company(int(people.company[row]))[:2])) + ".example"
        address = f"{name}@{domain}"
        if free[row] or address in taken:
            address = f"{name}.{row}@{_FREE_MAIL[provider[row]] if free[row] else domain}"
        taken.add(address)
        emails.append(address)
        phones.append(f"+{_COUNTRIES[people.country[row]][1]} 555 {row:07d}")
    return np.array(emails, dtype=object), np.array(phones, dtype=object)


def _address_part(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return "".join(c for c in plain if c.isalnum() or c in ".-")


def _late_fields(scene: _Scene, end: _End) -> dict[str, pa.Array]:
    """Fill in the columns of `LEAKS`: the CRM holds them at the end, nobody knew them in time."""
    rng, clock = scene.rng, scene.clock
    now = np.where(end.closed < clock.end, end.ending, _OPEN)
    lots = rng.random((4, len(now)))
    at_work = (now == _OPEN) & (end.handed < clock.end)
    noted = lots[0] < np.where(at_work, 0.1, np.array([0.92, 0.8, 0.5, 0.0])[now])
    high = np.array([0.85, 0.1, 0.02, 0.4])[now]
    quality = np.select([lots[1] < high, lots[1] < 0.6 + 0.4 * high], ["high", "medium"], "low")
    nearly = (end.accepted < np.minimum(end.closed, clock.end)) & (now != _WON)
    owned = lots[2] < np.where(nearly, 0.08, np.array([0.97, 0.0, 0.0, 0.0])[now])
    coded = (lots[3] < 0.9) & (end.closed < clock.end)
    reps = np.array(_SALES_REPS)[rng.integers(len(_SALES_REPS), size=len(now))]
    return {
        "sales_notes_quality": pa.array(quality, mask=~noted),
        "contract_owner": pa.array(reps, mask=~owned),
        "lost_reason_code": _take(end.code, np.arange(len(now)), coded),
    }


# --- small tools ---
def _numbers(rows: Sequence[tuple[Any, ...]], which: int) -> Floats:
    return np.array([row[which] for row in rows], dtype=np.float64)


def _words(rows: Sequence[tuple[Any, ...]], which: int) -> NDArray[np.object_]:
    return np.array([row[which] for row in rows], dtype=object)


def _narrow(values: Floats | Ints) -> Grid:
    return values.astype(np.float32)


def _pick(rng: np.random.Generator, weights: Floats | Sequence[float], size: int) -> Ints:
    edges = np.cumsum(weights)
    codes: Ints = np.searchsorted(edges, rng.random(size) * edges[-1], side="right")
    return np.minimum(codes, len(edges) - 1)


def _arrivals(rng: np.random.Generator, rate: Grid) -> tuple[Ints, Ints]:
    """Draw a Poisson process with rates (days, leads): day and lead of each arrival."""
    edges = np.cumsum(rate, dtype=np.float64)
    cell = np.searchsorted(edges, np.sort(rng.random(rng.poisson(edges[-1]))) * edges[-1], side="right")
    day, lead = np.divmod(np.minimum(cell, rate.size - 1), rate.shape[1])
    return day, lead


def _place(groups: Ints) -> Ints:
    """Place of each entry among the equal ones beside it: 0, 1, 2, ..."""
    here = np.arange(len(groups))
    starts = np.append(True, groups[1:] != groups[:-1])[: len(groups)]
    began: Ints = np.maximum.accumulate(np.where(starts, here, 0))
    return here - began


def _pages(scene: _Scene, taste: Ints) -> Ints:
    """Draw a page by a row of `_INTERESTS` each."""
    edges = np.cumsum(np.array(list(_INTERESTS.values()), dtype=np.float64), axis=1)
    lot = scene.rng.random(len(taste)) * edges[taste, -1]
    page = np.zeros(len(taste), dtype=np.int64)
    for edge in edges.T[:-1]:
        page += lot >= edge[taste]
    return scene.codes(_PAGES)[page]


def _device(rng: np.random.Generator, size: int) -> Ints:
    return (rng.random(size) < 0.12).astype(np.int64)


def _split(scene: _Scene, lead: Ints, at: Ints) -> Ints:
    """Book about half of what a person does on the second record, once there is one."""
    people = scene.people
    second = np.full(len(people.created), -1)
    again = np.flatnonzero(people.original >= 0)
    second[people.original[again]] = again
    twin = second[lead]
    moves = (twin >= 0) & (at >= people.created[twin]) & (scene.rng.random(len(lead)) < 0.5)
    return np.where(moves, twin, lead)


def _in_office(rng: np.random.Generator, day: Ints) -> Ints:
    hour = np.clip(rng.normal(12.5, 3.2, len(day)), 0.05, 23.9)
    return day * DAY + (hour * HOUR).astype(np.int64)


def _office_hours(within: Ints) -> Floats:
    """Share of a day's hazard that is over at this time of day: leads close between 8 and 18 h UTC."""
    return np.clip((within / HOUR - 8) / 10, 0.0, 1.0)


def _from_office_hours(share: Floats) -> Ints:
    return ((8 + 10 * np.clip(share, 0.0, 1.0)) * HOUR).astype(np.int64)


def _share(won: Grid, other: Grid) -> Floats:
    total = won.astype(np.float64) + other
    return np.divide(won, total, out=np.zeros_like(total), where=total > 0)


def _absolute(clock: _Clock, moments: Ints) -> Ints:
    return np.where(moments == NEVER, NEVER, clock.start + np.where(moments == NEVER, 0, moments))


def _times(clock: _Clock, moments: Ints) -> pa.Array:
    return pa.array(clock.start + moments).cast(pa.timestamp("us", tz="UTC"))


def _take(words: pa.Array, codes: Ints, which: Flags | None = None) -> pa.Array:
    return words.take(pa.array(codes, mask=None if which is None else ~which))


def _numbered(letter: str, numbers: Ints, width: int) -> pa.Array:
    digits = pc.utf8_lpad(pa.array(numbers).cast(pa.string()), width, "0")
    return pc.binary_join_element_wise(letter, digits, "")


def _iso(moment: int) -> str:
    return datetime.fromtimestamp(moment / 1_000_000, UTC).isoformat()
