import json
import re
import subprocess
import sys
from datetime import UTC, datetime
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadscore.errors import ModelError
from leadscore.explain.card import GradeCuts, driver_families, explanations, grade_cuts
from leadscore.explain.drivers import driver_points, family_sums
from leadscore.features.declare import AttributeFeature, EventFeature
from leadscore.models.calibration import Scale, Sigmoid
from leadscore.models.conditions import Condition
from leadscore.models.linear import LevelsTerm, LinearTable, NumberTerm
from leadscore.models.matrix import Column
from leadscore.models.points import PointRule, PointTable

FEATURES = (
    EventFeature("count", "page_view", window=7, content="/pricing"),
    EventFeature("recency", "page_view", content="/pricing"),
    EventFeature("count", "email_click"),
    EventFeature("count", "bounce", family="operations"),
    AttributeFeature("category", "industry", levels=("bank", "software")),
    AttributeFeature("seniority", "job_title", levels=("director", "intern")),
    AttributeFeature("department", "job_title", levels=("sales",)),
    AttributeFeature("number", "company_size"),
)
COLUMNS = tuple(Column(feature.name, feature.categories) for feature in FEATURES)
SCALE = Scale()
CUTS = GradeCuts((-4.0, 0.0, 4.0), (-9.0, -2.0, 7.0))
TYPICAL = {FEATURES[0].name: 0.0, FEATURES[2].name: 1.0, "company_size": 40.0}


def number_term(coefficient):
    return NumberTerm(False, -1e9, 1e9, 1.0, 2.0, coefficient, missing=-0.2, mean=0.1)


LINEAR = LinearTable(
    COLUMNS,
    (
        number_term(1.4),
        NumberTerm(True, -1e9, 1e9, 1.0, 2.0, -0.5, missing=-0.4, mean=0.1),
        number_term(0.7),
        number_term(-2.0),
        LevelsTerm((0.1, 1.2, 0.0), missing=-0.3, mean=0.2),
        LevelsTerm((0.9, -2.5, 0.0), missing=-0.8, mean=-0.1),
        LevelsTerm((0.3, 0.0), missing=-0.1, mean=0.0),
        number_term(0.01),
    ),
    intercept=-2.5,
)


def leads(n, seed=0):
    rng = np.random.default_rng(seed)
    numbers = [rng.poisson(2, n), rng.exponential(9, n), rng.poisson(1.5, n), rng.poisson(0.3, n)]
    words = [rng.integers(0, 3, n), rng.integers(0, 3, n), rng.integers(0, 2, n), rng.integers(1, 500, n)]
    M = np.column_stack([*numbers, *words]).astype(float)
    M[rng.random(M.shape) < 0.1] = np.nan
    return np.asfortranarray(M)


def explained(M, scorer=LINEAR, features=FEATURES, calibration=None, **changes):
    split = driver_points(scorer, calibration or Sigmoid(0.9, 0.1), SCALE, M)
    given = {
        "features": features,
        "typical": TYPICAL,
        "cuts": CUTS,
        "stages": ["mql"] * len(M),
        "stage_reasons": ["MQL: the chance is at or above the line of 10 %."] * len(M),
        "horizon": 30.0,
        "as_of": [1_777_852_800_000_000] * len(M),
        "model": "demo",
        "policy_revision": 3,
        "lines": [{"nurture": 33.6, "mql": 50.0, "sales_ready": 62.7}] * len(M),
    }
    return explanations(np.arange(len(M)) + 100, split, scorer, M, **{**given, **changes})


class Page(HTMLParser):
    """What a browser would make of a page: elements, attributes, and the text of cells."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.cells, self.text, self.inside = set(), set(), [], [], []
        self.policy = None
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.tags.add(tag)
        self.attributes |= set(given)
        self.inside.append(tag)
        if given.get("class") == "ls-points":
            self.cells.append("")
        if given.get("http-equiv") == "Content-Security-Policy":
            self.policy = given["content"]
        if tag in ("meta", "rect", "circle"):
            self.inside.pop()

    def handle_endtag(self, tag):
        assert tag in ("rect", "circle") or self.inside.pop() == tag  # what opens closes

    def handle_data(self, data):
        self.text.append(data)
        if self.inside and self.inside[-1] == "td" and self.cells and data.strip():
            self.cells[-1] += data


POINTS = PointTable(
    COLUMNS,
    (
        PointRule("Pricing page", 12, per=FEATURES[0].name, cap=60),
        PointRule("Software", 25, Condition("industry", "is", "software")),
        PointRule("Intern", -40, Condition("job_title_seniority", "is", "intern")),
        PointRule("Director", 40, Condition("job_title_seniority", "is", "director")),
        PointRule("Bounced", -15, Condition(FEATURES[3].name, "at_least", 1), family="operations"),
    ),
)


@pytest.mark.parametrize(
    ("scorer", "calibration"),
    [(LINEAR, Sigmoid(0.9, 0.1)), (POINTS.with_means(leads(500, 1)), Sigmoid(0.08, -4.5))],
    ids=["linear", "points"],
)
def test_points_and_the_integers_shown_add_up_everywhere(scorer, calibration):
    for card in explained(leads(400), scorer=scorer, calibration=calibration):
        assert card.base + sum(d.points for d in card.drivers) == pytest.approx(card.score, abs=1e-9)
        assert card.shown_base + sum(d.shown for d in card.drivers) == card.shown_score
        assert abs(card.shown_score - card.score) <= 0.5 + 1e-6
        listed = [*card.up, *card.down, *card.limits, *card.rest]
        assert sorted(map(id, listed)) == sorted(map(id, card.drivers))
        assert len(card.up) <= 4
        assert len(card.down) <= 2


def test_what_is_read_adds_up_too():
    for card in explained(leads(60)):
        above, _, below = card.text().partition("   ---\n")
        numbers = [int(row) for row in re.findall(r"^ {1,5}([+-]?\d+)  ", above, flags=re.M)]
        assert numbers[0] == card.shown_base
        assert sum(numbers) == card.shown_score == int(below.split()[0])
        cells = [int(cell.replace("−", "-")) for cell in Page(card.html()).cells]
        assert sum(cells[:-1]) == cells[-1] == card.shown_score


def test_columns_of_a_concept_are_one_reason_and_the_loudest_speaks():
    M = leads(200)
    split = driver_points(LINEAR, Sigmoid(0.9, 0.1), SCALE, M)
    for i, card in enumerate(explained(M)):
        by_concept = {driver.concept: driver for driver in card.drivers}
        assert len(by_concept) == len(card.drivers)
        sizes = [abs(driver.points) for driver in card.drivers if driver.family != "limit"]
        assert sizes == sorted(sizes, reverse=True)
        if "job_title" not in by_concept:
            assert split.points[i, 5] + split.points[i, 6] == 0
            continue
        title = by_concept["job_title"]
        assert title.columns == ("job_title_seniority", "job_title_department")
        assert title.points == pytest.approx(split.points[i, 5] + split.points[i, 6])
        louder = abs(split.points[i, 5]) >= abs(split.points[i, 6])
        assert title.text.startswith("Job title: seniority" if louder else "Job title: department")


def test_the_value_that_is_told_is_the_leads():
    row = np.array([[4.0, 2.0, 0.0, 0.0, 1.0, np.nan, np.nan, 250.0]])
    texts = {driver.concept: driver.text for driver in explained(row)[0].drivers}
    assert texts == {
        "page_view: /pricing": "4 page views of /pricing in the last 7 days; a typical lead has 0",
        "email_click": "No e-mail click so far; a typical lead has 1",
        "bounce": "No bounce so far; a typical lead has none either",
        "industry": "Industry: software",
        "job_title": "Job title: seniority not known",
        "company_size": "Company size: 250; a typical lead has 40",
    }


def test_nothing_is_said_of_what_the_model_does_not_use():
    scorer = POINTS.with_means(leads(500, 1))
    for card in explained(leads(100), scorer=scorer, calibration=Sigmoid(0.08, -4.5)):
        used = {name for driver in card.drivers for name in driver.columns}
        assert used <= {rule.column for rule in POINTS.rules}
        assert not re.search(r"Company size|e-mail|[Dd]epartment", card.text() + card.html())


def test_family_sums_grade_and_the_rest_are_carried():
    M = leads(50)
    split = driver_points(LINEAR, Sigmoid(0.9, 0.1), SCALE, M)
    sums = family_sums(split.points, ["engagement"] * 3 + ["operations"] + ["fit"] * 4)
    for i, card in enumerate(explained(M)):
        assert (card.fit, card.engagement, card.operations) == tuple(float(sums[f][i]) for f in sums)
        assert card.grade == CUTS.grade(card.fit, card.engagement)
        assert card.as_of == datetime(2026, 5, 4, tzinfo=UTC)
        assert card.lead_id == 100 + i


def test_a_driver_is_of_the_family_of_its_column():
    assert driver_families(POINTS, FEATURES) == ("engagement", "fit", "fit", "fit", "operations", "limit")


def test_where_the_scale_ends_a_line_says_so():
    high = explained(np.array([[40.0, 0.0, 30.0, 0.0, 1.0, 0.0, 0.0, 1.0]]))[0]
    assert high.shown_score == 100
    assert [d.text for d in high.limits] == ["The scale ends at 100"]
    assert high.limits[0].points < 0
    assert high.drivers[-1] is high.limits[0]
    low = explained(np.array([[0.0, 0.0, 0.0, 9.0, 1.0, 1.0, 0.0, 1.0]]))[0]
    assert (low.shown_score, low.limits[0].text) == (0, "The scale begins at 0")


@pytest.mark.parametrize(
    ("probability", "typical", "horizon", "sentence"),
    [
        (0.137, 0.0502, 30.0, "About 14 in 100 such leads convert within 30 days; typical: 5 in 100."),
        (0.0042, 0.01, 0.5, "About 4 in 1,000 such leads convert within 12 hours; typical: 1 in 100."),
        (0.00001, 0.3, None, "Fewer than 1 in 1,000 such leads convert; typical: 30 in 100."),
        (0.9999, 0.9, 1.0, "More than 99 in 100 such leads convert within 1 day; typical: 90 in 100."),
    ],
)
def test_the_chance_in_plain_words(probability, typical, horizon, sentence):
    log_odds, middle = (np.log(p / (1 - p)) for p in (probability, typical))
    term = NumberTerm(False, -1e9, 1e9, 0.0, 1.0, log_odds - middle, missing=0.0, mean=0.0)
    scorer = LinearTable((Column("lead_age"),), (term,), intercept=middle)
    card = explained(
        np.array([[1.0]]),
        scorer=scorer,
        features=(AttributeFeature("lead_age"),),
        calibration=Sigmoid(1.0, 0.0),
        horizon=horizon,
    )[0]
    assert card.chance == sentence
    assert card.chance in card.text(width=100)


def test_the_dict_is_json_with_everything_that_is_shown():
    card = explained(leads(1))[0]
    values = json.loads(json.dumps(card.to_dict(), allow_nan=False))
    assert set(values) == {
        *("lead_id", "probability", "score", "base", "drivers", "stage", "stage_reason", "fit", "engagement"),
        *("operations", "grade", "horizon", "typical_probability", "as_of", "model", "policy_revision"),
        *("lines", "calibrated", "shown_score", "shown_base", "chance"),
    }
    assert set(values["drivers"][0]) == {"concept", "label", "family", "points", "shown", "text", "columns"}
    assert values["as_of"] == "2026-05-04T00:00:00+00:00"
    assert values["base"] + sum(d["points"] for d in values["drivers"]) == pytest.approx(values["score"])


def test_without_a_clock_there_is_no_moment():
    card = explained(leads(1), as_of=None, horizon=None)[0]
    assert card.to_dict()["as_of"] is None
    assert "Scored by demo, policy revision 3." in card.text()


def test_text_fits_eighty_columns():
    for card in explained(leads(40), model="m" * 70):
        assert max(map(len, card.text().splitlines())) <= 80


# ----------------------------------------------------------------------------------------------- grade
def test_grades_are_quarters_of_the_training_leads():
    rng = np.random.default_rng(0)
    fit, engagement = rng.normal(size=4000), rng.exponential(size=4000)
    cuts = grade_cuts(fit, engagement)
    grades = [cuts.grade(f, e) for f, e in zip(fit.tolist(), engagement.tolist(), strict=True)]
    for place, names in ((0, "ABCD"), (1, "1234")):
        counts = [sum(grade[place] == name for grade in grades) for name in names]
        assert counts == [1000] * 4
    assert fit[[g[0] == "A" for g in grades]].min() > fit[[g[0] == "B" for g in grades]].max()
    assert GradeCuts.from_dict(json.loads(json.dumps(cuts.to_dict()))) == cuts


def test_a_model_without_a_family_has_no_grade_for_it():
    cuts = grade_cuts(np.arange(8.0), np.zeros(8))
    assert (cuts.grade(7.0, 0.0), cuts.grade(0.0, 5.0)) == ("A", "D")
    letter = explained(leads(1), cuts=cuts)[0]
    assert f"Grade <b>{letter.grade}</b>" in letter.html()
    assert letter.grade in set("ABCD")
    nothing = grade_cuts(np.zeros(8), np.zeros(8))
    card = explained(leads(1), cuts=nothing)[0]
    assert card.grade == ""
    assert "rade" not in card.text() + re.sub(r"<style>.*?</style>", "", card.html(), flags=re.S)


@pytest.mark.parametrize(
    "values",
    [
        None,
        {},
        {"fit": [1, 2, 3]},
        {"fit": [3, 2, 1], "engagement": []},
        {"fit": [1, 2], "engagement": []},
        {"fit": [], "engagement": ["a", "b", "c"]},
        {"fit": [1, 2, float("nan")], "engagement": []},
    ],
)
def test_cut_points_that_are_none_are_refused(values):
    with pytest.raises(ModelError):
        GradeCuts.from_dict(values)


# ------------------------------------------------------------------------------------------------ HTML
TAGS = {
    *("html", "head", "meta", "title", "style", "body", "article", "header", "footer", "section", "div", "p"),
    *("h1", "b", "span", "svg", "rect", "circle", "table", "caption", "thead", "tbody", "tr", "th", "td"),
}
ATTRIBUTES = {
    *(
        "lang",
        "charset",
        "http-equiv",
        "content",
        "name",
        "class",
        "aria-label",
        "aria-hidden",
        "role",
        "title",
    ),
    *("width", "height", "x", "y", "rx", "cx", "cy", "r", "viewbox", "scope", "colspan"),
}
HOSTILE = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "' onmouseover='alert(1)",
    "</style><script>alert(1)</script>",
    "</title><svg onload=alert(1)>",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:alert(1)",
    "<!--",
    "]]><x>",
    "\x1b[31mred\x07\u202eevil\u2066",
    "&lt;b&gt;",
    "\ud800 half a letter",
]  # fmt: skip


def hostile_card(text):
    features = (
        EventFeature("count", text, content=text),
        EventFeature("count", "page_view", content=text + "2"),
        AttributeFeature("category", text, levels=(text,)),
    )
    columns = tuple(Column(feature.name, feature.categories) for feature in features)
    terms = (
        number_term(2.0),
        number_term(-2.0),
        LevelsTerm((1.0,) * len(columns[2].levels), missing=0.0, mean=0.0),
    )
    scorer = LinearTable(columns, terms, intercept=0.0)
    M = np.array([[3.0, 4.0, 0.0]])
    split = driver_points(scorer, Sigmoid(1.0, 0.0), SCALE, M)
    return explanations(
        [text],
        split,
        scorer,
        M,
        features=features,
        typical={},
        cuts=CUTS,
        stages=[text],
        stage_reasons=[text],
        horizon=None,
        model=text,
        policy_revision=1,
        lines=[{text: 50.0}],
    )[0]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text(text):
    card = hostile_card(text)
    page = Page(card.html())
    assert page.tags <= TAGS
    assert page.attributes <= ATTRIBUTES
    assert page.inside == []
    plain = re.sub(r"[\x00-\x1f\u202a-\u202e\u2066-\u2069]", "", text).replace("\ud800", "?")
    assert "".join(page.text).count(plain) >= 5
    assert card.html().encode()
    assert re.fullmatch(
        r"default-src 'none'; style-src 'sha256-[\w+/]{43}='; base-uri 'none'; form-action 'none'",
        page.policy,
    )
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", card.text())
    assert json.loads(json.dumps(card.to_dict()))["lead_id"] == text


@given(st.text(max_size=60))
def test_no_text_at_all_becomes_an_element(text):
    page = Page(hostile_card(text).html())
    assert page.tags <= TAGS
    assert page.attributes <= ATTRIBUTES


def test_the_style_that_the_page_allows_is_the_style_it_has():
    import base64
    import hashlib

    html = explained(leads(1))[0].html()
    style = re.search(r"<style>(.*?)</style>", html, flags=re.S)[1]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in html
    assert not re.search(r"url\(|@import|https?:", html)
    selectors = re.findall(r"(?:^|})\s*([^@{}]+)\{", re.sub(r"@(media|page)[^{]*\{", "", style))
    assert all(
        part.strip().startswith(".leadscore")
        for s in selectors
        for part in s.split(",")
        if part.strip() and "margin:15mm" not in part
    )


def test_a_notebook_gets_the_card_alone():
    fragment = explained(leads(1))[0]._repr_html_()
    assert {"html", "body", "script"} & Page(fragment).tags == set()
    assert fragment.count("<article") == 1


def test_a_reader_of_the_page_hears_the_score_the_chance_and_the_table():
    card = explained(leads(1))[0]
    html = card.html()
    assert f'aria-label="Score {card.shown_score} on a scale from 0 to 100' in html
    assert '<html lang="en">' in html
    assert html.count('scope="row"') >= 3
    assert all('role="img"' in svg or 'aria-hidden="true"' in svg for svg in re.findall(r"<svg[^>]*>", html))


def test_explaining_and_judging_load_nothing_heavy():
    program = """
import sys
import leadscore.explain.card, leadscore.policy.ledger, leadscore.policy.preview
heavy = {"matplotlib", "sklearn", "scipy", "lightgbm", "shap", "mlflow", "jinja2", "rich"} & set(sys.modules)
sys.exit(", ".join(heavy) or 0)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
