"""Figures: what is drawn is what was measured, and the SVG is the same every time."""

import subprocess
import sys
import xml.etree.ElementTree as ET

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from leadscore.evaluation import figures
from leadscore.evaluation.compare import Comparison
from leadscore.evaluation.metrics import METRICS

HOSTILE = "<b>$x_1 & co$</b>"


def comparison():
    """Fifty won of 200; the points say one probability for all, the other model knows."""
    y = np.r_[np.ones(50), np.zeros(150)].astype(int)
    predictions = pd.DataFrame(
        {"row": np.arange(200), "fold": "fold 1 of 2", "y": y, "points": 0.25, HOSTILE: 0.1 + 0.8 * y}
    )
    rows = pd.DataFrame(
        [
            {"metric": name, "slice": "all", "model": model, "value": METRICS[name](y, predictions[model])}
            for model in ("points", HOSTILE)
            for name in METRICS
        ]
    )
    return Comparison(rows, {}, "points", "", "points", predictions)


def lines(figure):
    return {line.get_label(): line.get_xydata() for line in figure.axes[0].get_lines()}


@pytest.mark.parametrize("draw", figures.ALL.values(), ids=figures.ALL)
def test_svg_is_well_formed_and_the_same_every_time(draw):
    text = figures.svg(draw(comparison()))
    assert text == figures.svg(draw(comparison()))
    assert ET.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"
    assert "<b>" not in text
    assert "dc:date" not in text
    assert "Matplotlib v" not in text


def test_gains_reach_what_a_perfect_order_reaches():
    drawn = lines(figures.gains(comparison()))
    share, reached = drawn[HOSTILE].T
    np.testing.assert_allclose(reached, np.minimum(share / 0.25, 1))
    share, reached = drawn["points"].T
    np.testing.assert_allclose(reached, share)


def test_reliability_draws_the_bins():
    drawn = lines(figures.reliability(comparison()))
    # the third bin holds as many won as lost leads, so that only nine bins have a gap of 0.1
    np.testing.assert_allclose(drawn[f"{HOSTILE} (0.090)"][[0, 2, 9]], [[0.9, 1], [0.5, 0.5], [0.1, 0]])
    np.testing.assert_allclose(drawn["points (0.000)"], np.full((10, 2), 0.25))


def test_precision_and_recall_end_at_the_overall_share():
    drawn = lines(figures.precision_recall(comparison()))
    np.testing.assert_allclose(drawn[f"{HOSTILE} (1.000)"], [[1, 1], [1, 0.25]])
    np.testing.assert_allclose(drawn["points (0.250)"], [[1, 0.25]])


def test_models_differ_without_colour():
    drawn = figures.gains(comparison()).axes[0].get_lines()[1:]
    assert len({line.get_marker() for line in drawn}) == len(drawn)


def test_drawing_needs_no_pyplot():
    code = (
        "import sys; from leadscore.evaluation import figures; from matplotlib.figure import Figure; "
        "figures.svg(Figure()); assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_drawing_leaves_settings_alone():
    names = ("text.parse_math", "svg.hashsalt", "font.size", "axes.grid")
    before = [mpl.rcParams[name] for name in names]
    figures.svg(figures.gains(comparison()))
    assert [mpl.rcParams[name] for name in names] == before


def test_bands_marks_and_a_level_are_where_they_are_said_to_be():
    x = np.linspace(0, 0.5, 11)
    given = [
        figures.Line("precision", x, 0.2 + x, 0.1 + x, 0.3 + x),
        figures.Line("recall", x, 1 - x),
    ]
    figure = figures.banded(
        "Both",
        ("chance", "share"),
        given,
        shares=(True, True),
        uprights={"draft": 0.1, "in force": 0.2},
        level=("capacity", 0.6),
        most=0.4,
    )
    (axes,) = figure.axes
    drawn = lines(figure)
    np.testing.assert_allclose(drawn["precision"], np.column_stack([x, 0.2 + x]))
    np.testing.assert_allclose(drawn["recall"], np.column_stack([x, 1 - x]))
    assert [float(drawn[name][0][0]) for name in ("draft", "in force")] == [0.1, 0.2]
    assert float(drawn["capacity"][0][1]) == 0.6
    assert axes.get_xlim()[1] == 0.4
    (band,) = axes.collections
    corners = band.get_paths()[0].vertices
    assert (corners[:, 1].min(), corners[:, 1].max()) == pytest.approx((0.1, 0.8))
    assert [text.get_text() for text in axes.get_legend().get_texts()] == list(drawn)
    assert axes.yaxis.get_major_formatter()(0.25) == "25%"


def test_numbers_that_are_no_shares_have_thousands():
    figure = figures.banded("Profit", ("chance", "profit"), [figures.Line("profit", [0, 1], [0, 4_000])])
    assert figure.axes[0].yaxis.get_major_formatter()(4_000) == "4,000"
