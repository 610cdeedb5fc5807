"""What is planted: the kinds of people and companies, what they like, and what becomes of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray


# --- who they are ---
@dataclass(frozen=True, slots=True)
class Kind:
    """One value of a field, its share, and what it multiplies the hazard of a win by."""

    name: str
    share: float
    pull: float


@dataclass(frozen=True, slots=True)
class Source(Kind):
    """Where leads come from."""

    strangers: float  # share among students, competitors and bots
    campaigns: tuple[str, ...] = ()
    form: str = "page_view"  # what makes a lead of a visitor; "": they never come through the website
    wrong_addresses: float = 0.015


@dataclass(frozen=True, slots=True)
class Country(Kind):
    """Where companies are."""

    dialling_code: str


@dataclass(frozen=True, slots=True)
class Title:
    """What people are, in several spellings, and their power to decide, 0 to 1."""

    share: float
    power: float
    spellings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Segment(Kind):
    """Buyers, and those who only look like it."""

    activity: float
    found_out: float  # daily hazard of being disqualified
    free_mail: float  # share with an address of a free provider
    reason: tuple[str, str]  # for disqualifying them, in words and as the CRM's code
    titles: tuple[str, ...] = ()  # in place of the title's own spellings
    companies: tuple[str, ...] = ()  # in place of a company's own name


SOURCES = (
    Source("Organic Search", 0.24, 1.0, 0.35),
    Source("Paid Search", 0.16, 0.8, 0.1, ("ps-brand", "ps-category", "ps-competitor-terms")),
    Source(
        "Content Download",
        0.17,
        0.75,
        0.3,
        ("guide-forecasting", "guide-erp-checklist", "report-benchmarks"),
        form="download",
    ),
    Source("Webinar", 0.11, 1.0, 0.12, ("webinar-spring", "webinar-autumn"), form="webinar"),
    Source("Social Media", 0.11, 0.5, 0.13, ("li-thought-leadership", "li-retargeting")),
    Source("Trade Show", 0.08, 0.9, 0.0, ("hannover-messe", "logimat"), form=""),
    Source("Outbound List", 0.07, 0.3, 0.0, ("list-q1", "list-q3"), form="", wrong_addresses=0.15),
    Source("Partner", 0.035, 1.5, 0.0, ("partner-programme",)),
    Source("Referral", 0.025, 5.0, 0.0),
)
COMPETING = "Planning Software"  # our competitors' own industry
INDUSTRIES = (
    Kind("Manufacturing", 0.18, 1.4),
    Kind("Logistics", 0.12, 1.5),
    Kind("Wholesale", 0.09, 1.2),
    Kind("Retail", 0.11, 0.9),
    Kind("Software", 0.12, 0.75),
    Kind("Financial Services", 0.09, 0.7),
    Kind("Healthcare", 0.07, 0.7),
    Kind("Energy", 0.05, 1.1),
    Kind("Consulting", 0.06, 0.55),
    Kind("Media", 0.04, 0.5),
    Kind("Public Sector", 0.04, 0.5),
    Kind("Education", 0.025, 0.4),
    Kind(COMPETING, 0.005, 0.3),
)
COUNTRIES = (
    Country("Germany", 0.24, 1.2, "49"),
    Country("United Kingdom", 0.14, 1.1, "44"),
    Country("France", 0.12, 1.0, "33"),
    Country("United States", 0.13, 0.9, "1"),
    Country("Netherlands", 0.09, 1.2, "31"),
    Country("Poland", 0.08, 0.9, "48"),
    Country("Austria", 0.05, 1.1, "43"),
    Country("Spain", 0.05, 0.8, "34"),
    Country("India", 0.06, 0.5, "91"),
    Country("Brazil", 0.04, 0.5, "55"),
)
TITLES = tuple(
    Title(*row)
    for row in (
        (0.045, 1.0, ("CIO", "Chief Information Officer", "C.I.O.", "CTO", "Chief Digital Officer")),
        (0.07, 0.85, ("CEO", "Founder & CEO", "Owner", "Managing Director", "Geschäftsführer")),
        (0.025, 0.75, ("CFO", "Chief Financial Officer", "Finance Chief (CFO)")),
        (0.05, 1.0, ("VP Operations", "Vice President of Operations", "SVP Supply Chain", "V.P. Ops")),
        (0.02, 0.45, ("VP Marketing", "Vice President, Marketing", "VP of Growth Marketing")),
        (0.07, 1.0, ("IT Director", "Director of IT", "Head of IT", "IT-Leiter", "Directeur informatique")),
        (0.07, 0.95, ("Director of Operations", "Head of Supply Chain", "Leiterin Logistik")),
        (0.03, 0.35, ("Marketing Director", "Head of Marketing", "Director, Digital Marketing")),
        (0.12, 0.65, ("Operations Manager", "Supply Chain Manager", "Plant Manager", "Ops Mgr")),
        (0.10, 0.65, ("IT Manager", "Senior IT Manager", "IT Project Manager", "Manager IT")),
        (0.05, 0.3, ("Sales Manager", "Key Account Manager", "Regional Sales Manager")),
        (0.03, 0.15, ("HR Manager", "Talent Acquisition Manager", "People Manager")),
        (0.13, 0.2, ("Software Engineer", "System Administrator", "Data Analyst", "Business Analyst")),
        (0.10, 0.25, ("Logistics Coordinator", "Demand Planner", "Process Engineer", "Buyer")),
        (0.05, 0.08, ("Marketing Specialist", "Content Marketer", "SEO Specialist")),
        (0.03, 0.08, ("Office Assistant", "Executive Assistant to the CEO", "Assistentin")),
        (0.01, 0.02, ("Intern", "Praktikant", "Operations Intern", "Werkstudent Logistik")),
    )
)
BUYER, STUDENT, COMPETITOR, BOT = range(4)
SEGMENTS = (
    Segment("buyer", 0.875, 1.0, 1.0, 0.0003, 0.18, ("Not our market", "D01")),
    Segment(
        "student",
        0.055,
        0.0,
        2.0,
        0.012,
        0.75,
        ("Student", "D02"),
        titles=("Student", "PhD Student", "MSc student", "Research Assistant", "Studentin", "Intern"),
        companies=(
            "University of Brolin",
            "TU Estmark",
            "Nordhaven Business School",
            "Universidad de Calvera",
        ),
    ),
    Segment(
        "competitor",
        0.03,
        0.0,
        2.2,
        0.006,
        0.3,
        ("Competitor", "D03"),
        companies=("Planora", "Quantlane", "ForecastIQ Labs", "SupplyMind"),
    ),
    Segment(
        "bot",
        0.04,
        0.0,
        2.2,
        0.020,
        0.9,
        ("Fake data", "D04"),
        titles=("asdf", "SEO", "<script>alert(1)</script>", "test", "x", "=1+1", "Manager"),
        companies=(
            "asdf",
            "Best SEO 4U",
            '<a href="//spam.example">cheap</a>',
            '=HYPERLINK("//spam.example")',
            "N/A",
        ),
    ),
)


# --- what they do ---
@dataclass(frozen=True, slots=True)
class EventType:
    """What an event means to the company."""

    name: str
    channel: str
    identifies: bool = False  # it tells who the visitor is
    points: float = 0.0  # in the sales team's own rough score, which decides who is handed over
    late: float = 0.02  # share that is written down hours later


EVENT_TYPES = (
    EventType("email_sent", "email"),
    EventType("email_open", "email"),
    EventType("email_click", "email", identifies=True, points=2.0),
    EventType("page_view", "website", points=0.5),
    EventType("search", "website"),
    EventType("share", "website"),
    EventType("download", "website", identifies=True, points=3.0),
    EventType("webinar", "webinar", identifies=True, points=5.0, late=0.6),
    EventType("demo_request", "website", identifies=True, points=14.0),
    EventType("purchase", "shop", identifies=True),
    EventType("email_bounce", "email"),
    EventType("complaint", "email"),
    EventType("unsubscribe", "email"),
    EventType("sales_call", "phone", late=0.35),
    EventType("sales_reply", "email", late=0.2),
    EventType("handover", "crm"),
)
SIGNUP = "/signup"  # a page that tells who the visitor is
PAGES = (
    "/", "/product", "/features", "/pricing", "/docs", "/case-studies", "/integrations", "/security",
    "/compare", "/contact", "/blog/forecasting-basics", "/blog/inventory-myths", "/careers", "/support",
    "/login",
)  # fmt: skip
# who looks at what, in the order of PAGES: buyers early and late, the other segments in order, customers
EARLY, LATE, CUSTOMER = 0, 1, 5
INTERESTS = (
    (20, 14, 9, 4, 3, 5, 3, 1, 2, 2, 16, 14, 3, 1, 1),
    (8, 9, 9, 22, 7, 12, 10, 8, 7, 6, 2, 2, 0, 1, 1),
    (12, 8, 6, 6, 12, 5, 2, 1, 3, 1, 20, 18, 14, 1, 0),
    (8, 14, 16, 22, 16, 5, 8, 4, 8, 0, 3, 3, 6, 1, 0),
    (12, 8, 8, 10, 8, 8, 7, 6, 6, 12, 6, 6, 3, 4, 6),
    (4, 2, 3, 1, 18, 1, 6, 2, 0, 2, 3, 3, 1, 24, 30),
)
ASSETS = ("guide-forecasting.pdf", "erp-checklist.xlsx", "benchmark-report.pdf", "roi-calculator.xlsx")
QUERIES = ("price", "sap integration", "demand forecasting", "api", "gdpr", "case study", "jobs")
WEBINARS = ("Forecasting in practice", "Planning with SAP", "Inventory without tears", "Customer panel")
SMALL_PRICES = {"workshop": 290.0, "starter-pack": 490.0}  # what may be bought before the subscription
NURTURE_DAYS = (1, 3, 7, 14, 28, 45)


# --- what becomes of them ---
@dataclass(frozen=True, slots=True)
class Ending:
    """How leads end, and what shows it: shares of the usual activity and of the fields filled in late."""

    name: str
    goes_on: float
    noted: float
    high: float
    owned: float


WON, LOST, DISQUALIFIED, OPEN = range(4)
ENDINGS = (
    Ending("Closed Won", 0.3, noted=0.92, high=0.85, owned=0.97),
    Ending("Closed Lost", 0.35, noted=0.8, high=0.1, owned=0.0),
    Ending("Disqualified", 0.2, noted=0.5, high=0.02, owned=0.0),
    Ending("open", 1.0, noted=0.0, high=0.4, owned=0.0),
)
LOST_REASONS = (
    ("No budget", "L01"),
    ("Chose a competitor", "L02"),
    ("No response", "L03"),
    ("Bad timing", "L04"),
)
# in words and as the CRM's code: why leads are lost, then by segment, then for a person already known
REASONS = (*LOST_REASONS, *(segment.reason for segment in SEGMENTS), ("Duplicate", "D05"))
HANDOVER_AT = 22.0
ACCEPTED_BOOST = 1.5
WIN_RATE = 0.0065  # a working day's hazard at fit 1, momentum 1 and pull 1
CAUSES: Mapping[str, float] = MappingProxyType(
    {
        f"{field}={kind.name}": kind.pull
        for field, kinds in (
            ("source", SOURCES),
            ("industry", INDUSTRIES),
            ("country", COUNTRIES),
            ("segment", SEGMENTS),
        )
        for kind in kinds
    }
    | {"stage=Sales Accepted": ACCEPTED_BOOST}
)


def column(rows: Sequence[Any], name: str) -> NDArray[Any]:
    """Read one attribute of all rows of a table, to be indexed by codes."""
    return np.array([getattr(row, name) for row in rows])
