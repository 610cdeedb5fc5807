import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadscore.explain.wording import clean, label, number, sentence, typical_values, value_of
from leadscore.features.declare import AttributeFeature, EventFeature
from leadscore.models.matrix import Column

E, A = EventFeature, AttributeFeature
PRICING = {"event": "page_view", "content": "/pricing"}


@pytest.mark.parametrize(
    ("feature", "value", "typical", "text"),
    [
        (
            E("count", window=7, **PRICING),
            4.0,
            0.0,
            "4 page views of /pricing in the last 7 days; a typical lead has 0",
        ),
        (
            E("count", "page_view", window=1),
            1.0,
            1.0,
            "1 page view in the last day; a typical lead has the same",
        ),
        (E("count", "email_click"), 0.0, 0.0, "No e-mail click so far; a typical lead has none either"),
        (
            E("count", "search", window=0.5),
            0.0,
            2.5,
            "No search in the last 12 hours; a typical lead has 2.5",
        ),
        (E("count", "reply"), 1200.0, 0.0, "1,200 replies so far; a typical lead has 0"),
        (
            E("count", "email_opened", window=7),
            4.0,
            0.0,
            "E-mail opened 4 times in the last 7 days; a typical lead has 0",
        ),
        (E("count", "A_SENT"), 1.0, 0.0, "“A_SENT” once so far; a typical lead has 0"),
        (
            E("count", "A_SENT", content="form 2"),
            2.0,
            0.0,
            "“A_SENT” (“form 2”) 2 times so far; a typical lead has 0",
        ),
        (
            E("count", "Demo Request", content="Spring sale"),
            1.0,
            0.0,
            "1 demo request for “Spring sale” so far; a typical lead has 0",
        ),
        (
            E("count", None, window=30),
            12.0,
            3.0,
            "12 activities of any kind in the last 30 days; a typical lead has 3",
        ),
        (E("count", None, family="operations"), 1.0, 0.0, "1 operational event so far; a typical lead has 0"),
        (
            E("decayed_count", "email_click", half_life=14),
            2.3678,
            0.3,
            "Recent e-mail clicks: 2.4 (each counts half after 14 days); a typical lead has 0.3",
        ),
        (
            E("decayed_count", "email_click", half_life=14),
            0.0,
            0.0,
            "No e-mail click so far; a typical lead has none either",
        ),
        (E("sum", "purchase"), 1234.6, 0.0, "Value of purchases so far: 1,235; a typical lead has 0"),
        (
            E("decayed_sum", "purchase", half_life=30),
            310.0,
            0.0,
            "Recent value of purchases: 310, halved every 30 days; a typical lead has 0",
        ),
        (E("mean", "purchase"), 80.0, None, "Average value of purchases so far: 80"),
        (E("mean", "purchase"), None, 40.0, "No purchase with a value so far; a typical lead has 40"),
        (
            E("recency", "page_view"),
            0.01,
            21.0,
            "Last page view less than an hour ago; a typical lead's was 21 days ago",
        ),
        (E("recency", "webinar"), 3.0, None, "Last webinar 3 days ago; a typical lead has none"),
        (E("recency", "webinar"), None, None, "No webinar so far; a typical lead has none either"),
        (E("recency", "webinar"), None, 9.0, "No webinar so far; a typical lead's last was 9 days ago"),
        (E("first_seen", "webinar"), 0.5, 9.0, "First webinar 12 hours ago; a typical lead's was 9 days ago"),
        (
            E("active_days", "page_view", window=30),
            5.0,
            1.0,
            "Page views on 5 days in the last 30 days; a typical lead has 1",
        ),
        (
            E("distinct_contents", "page_view"),
            6.0,
            1.0,
            "Page views: 6 different contents so far; a typical lead has 1",
        ),
        (
            E("ratio", "email_click", per="email_open"),
            0.25,
            0.1,
            "E-mail clicks per e-mail open so far: 0.25; a typical lead has 0.1",
        ),
        (
            E("ratio", "email_open", per="email_sent", window=30, channel="newsletter"),
            None,
            0.5,
            "E-mail opens via newsletter per e-mail sent not known: no e-mail sent in the last 30 days; "
            "a typical lead has 0.5",
        ),
        (
            E("trend", "page_view"),
            2.5,
            -0.25,
            "Page views in the last 7 days: 2.5 more than in an average week of the 28 days before; "
            "a typical lead has 0.25 fewer",
        ),
        (
            E("trend", "email_opened", window=1),
            -0.5,
            0.0,
            "E-mail opened in the last day: 0.5 fewer than in an average day of the 4 days before; "
            "a typical lead has as many",
        ),
        (
            E("trend", None, window=3),
            0.0,
            0.0,
            "Activities of any kind in the last 3 days: as many as in an average 3 days of the 12 days "
            "before; a typical lead has the same",
        ),
        (
            E("count", "page_view", contents=("/pricing", "/plans"), label="pricing pages"),
            4.0,
            0.0,
            "4 page views of pricing pages so far; a typical lead has 0",
        ),
        (
            E("count", "email_sent", contents=("a", "b"), label="offers", window=7),
            1.0,
            0.0,
            "E-mail sent (offers) once in the last 7 days; a typical lead has 0",
        ),
        (
            E("count", None, channel="Google Ads"),
            1.0,
            0.0,
            "1 activity of any kind via “Google Ads” so far; a typical lead has 0",
        ),
        (
            E("recency", "page_view", content="/pricing", channel="ads"),
            3.0,
            None,
            "Last page view of /pricing via ads 3 days ago; a typical lead has none",
        ),
        (A("number", "company_size"), 250.0, 40.0, "Company size: 250; a typical lead has 40"),
        (A("number", "Total Visits"), 3.0, None, "Total Visits: 3"),
        (A("number", "company_size"), None, None, "Company size not given"),
        (A("category", "industry", levels=("bank",)), "bank", "retail", "Industry: bank"),
        (A("category", "industry", levels=("bank",)), "(other)", None, "Industry: one of the rarer ones"),
        (A("category", "job_title", levels=("cook",)), None, None, "Job title not given"),
        (A("seniority", "job_title"), "c_level", None, "Job title: seniority C-level"),
        (A("seniority", "job_title"), None, "manager", "Job title: seniority not known"),
        (A("department", "job_title"), "hr", None, "Job title: department HR"),
        (A("email_domain_kind", "email"), "company", None, "Email: company address"),
        (A("days_since", "last_login"), 12.2, 3.0, "Last login: 12 days ago; typically 3 days ago"),
        (A("days_since", "last_login"), None, 3.0, "Last login not given, or still ahead"),
        (A("lead_age"), 12.0, 7.0, "Came in 12 days ago; a typical lead 7 days ago"),
        (
            A("filled_share", fields=("a", "b")),
            0.5,
            0.75,
            "50 % of the profile filled in; a typical lead has 75 %",
        ),
    ],
)
def test_every_kind_of_feature_has_a_good_sentence(feature, value, typical, text):
    assert sentence(feature, value, typical) == text


EVENTS = [
    "count",
    "decayed_count",
    "sum",
    "decayed_sum",
    "mean",
    "ratio",
    "trend",
    "recency",
    "first_seen",
    "active_days",
    "distinct_contents",
]
words = st.text(max_size=40)
features = st.one_of(
    st.builds(
        lambda aggregate, event, content, group, channel: EventFeature(
            aggregate,
            event,
            half_life=7.0 if aggregate.startswith("decayed") else None,
            content=None if group else content,
            contents=("a", "b") if group else None,
            label=group or None,
            channel=channel,
            per=event if aggregate == "ratio" else None,
        ),
        st.sampled_from(EVENTS),
        words,
        words | st.none(),
        words | st.none(),
        words | st.none(),
    ),
    st.builds(lambda field, level: AttributeFeature("category", field, levels=(level,)), words, words),
    st.builds(AttributeFeature, st.sampled_from(["number", "seniority", "days_since"]), words),
)


@given(features, st.none() | st.floats(0, 1e12) | words, st.none() | st.floats(0, 1e12))
def test_whatever_the_words_a_sentence_is_one_clean_line(feature, value, typical):
    if isinstance(value, str) and getattr(feature, "categories", None) is None:
        value = None
    for text in (sentence(feature, value, typical), label(feature)):
        assert not re.search(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]", text)
        assert len(text) < 600
        assert text.encode()
        assert "because" not in text.replace(clean(getattr(feature, "event", "") or ""), "")


@given(st.floats(0, 1e15))
def test_numbers_keep_three_digits(x):
    written = float(number(x).replace(",", ""))
    assert written == pytest.approx(x, rel=0.005, abs=1e-12)


def test_columns_of_one_concept_share_a_label():
    assert (
        label(EventFeature("count", "page_view"))
        == label(EventFeature("recency", "page_view"))
        == "Page views"
    )
    by_channel = EventFeature("ratio", "page_view", per="email_open", channel="ads")
    assert label(by_channel) == label(EventFeature("count", "page_view", channel="ads"))
    assert label(by_channel) == "Page views via ads"
    assert label(AttributeFeature("seniority", "job_title")) == label(
        AttributeFeature("department", "job_title")
    )
    assert label(AttributeFeature("lead_age")) == "Age of the lead"


def test_typical_is_the_median_or_the_most_frequent_word_or_missing():
    columns = [Column("n"), Column("rare"), Column("word", ("a", "b")), Column("gone", ("a", "b"))]
    nan = np.nan
    M = np.array([[1.0, nan, 0, nan], [2.0, nan, 1, nan], [9.0, 5.0, 1, nan], [nan, nan, nan, 1.0]])
    assert typical_values(M, columns) == {"n": 2.0, "rare": None, "word": "b", "gone": None}


def test_cells_are_read_back():
    assert value_of(2.5, Column("n")) == 2.5
    assert value_of(1.0, Column("w", ("a", "b"))) == "b"
    assert value_of(float("nan"), Column("w", ("a", "b"))) is None
