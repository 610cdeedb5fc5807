"""Pictures of a comparison: gains, reliability, precision and recall; matplotlib is used here only."""

import base64
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter, StrMethodFormatter

from leadscore.evaluation.compare import Comparison
from leadscore.evaluation.metrics import Floats, calibration_bins, mass, ranking
from leadscore.evaluation.reliability import Reliability

# Okabe and Ito's palette, told apart by the colour-blind; dashes and markers tell apart in black and white
_MODEL_STYLES: Final = (
    {"color": "#0072B2", "linestyle": "-", "marker": "o"},
    {"color": "#D55E00", "linestyle": (0, (6, 1.5)), "marker": "s"},
    {"color": "#009E73", "linestyle": (0, (3, 1, 1, 1)), "marker": "^"},
    {"color": "#CC79A7", "linestyle": (0, (1, 1)), "marker": "D"},
    {"color": "#E69F00", "linestyle": (0, (8, 1, 1, 1, 1, 1)), "marker": "v"},
)
_BASELINE_STYLE: Final = {"color": "#444444", "linestyle": (0, (4, 2)), "marker": "X"}
_RULER: Final[dict[str, Any]] = {"color": "#999999", "linewidth": 0.8, "linestyle": ":"}
_RC: Final[Any] = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "grid.alpha": 0.6,
    "grid.color": "#dddddd",
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 5,
    "svg.fonttype": "path",
    "svg.hashsalt": "leadscore",
    "text.parse_math": False,  # a model may be called anything
}
_POINTS: Final = 200


def _styles(comparison: Comparison) -> Iterator[tuple[str, dict[str, Any]]]:
    others = [name for name in comparison.models if name != comparison.baseline]
    for name in comparison.models:
        place = others.index(name) % len(_MODEL_STYLES) if name in others else -1
        yield name, dict(_BASELINE_STYLE if place < 0 else _MODEL_STYLES[place])


def _label(comparison: Comparison, model: str, metric: str) -> str:
    rows = comparison.rows
    value = rows[(rows["model"] == model) & (rows["metric"] == metric) & (rows["slice"] == "all")]["value"]
    return f"{model} ({value.iloc[0]:.3f})"


def _axes(title: str, x: str, y: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(5.2, 4.2), layout="constrained")
    axes = figure.add_subplot(title=title, xlabel=x, ylabel=y)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_axisbelow(True)
    return figure, axes


def _outcome(comparison: Comparison) -> Floats:
    return comparison.predictions["y"].to_numpy(dtype=np.float64)


def gains(comparison: Comparison) -> Figure:
    """Draw which share of the won leads is reached by working the leads from the highest score down.

    Parameters
    ----------
    comparison : Comparison

    Returns
    -------
    Figure
        A line a model, over the dotted line of working leads at random.
    """
    with mpl.rc_context(_RC):
        figure, axes = _axes("Won leads reached", "leads worked, highest score first", "won leads reached")
        share = np.linspace(0, 1, _POINTS + 1)
        axes.plot([0, 1], [0, 1], label="at random", **_RULER)
        for name, style in _styles(comparison):
            m = mass(ranking(_outcome(comparison), comparison.predictions[name]))
            reached = np.interp(share, np.append(0, m.all) / m.total, np.append(0, m.won) / m.total_won)
            axes.plot(share, reached, label=name, markevery=[20, 40], **style)
        axes.set(xlim=(0, 1), ylim=(0, 1.01))
        axes.legend(loc="lower right")
    return figure


def reliability(comparison: Comparison) -> Figure:
    """Draw, in ten bins of equal counts, the share really won against the probability said.

    Parameters
    ----------
    comparison : Comparison

    Returns
    -------
    Figure
        A line a model, beside the dotted line of probabilities that hold; the legend gives the mean gap.
    """
    with mpl.rc_context(_RC):
        figure, axes = _axes("Do the probabilities hold?", "probability said", "share really won")
        top = 0.0
        for name, style in _styles(comparison):
            bins = calibration_bins(_outcome(comparison), comparison.predictions[name])
            axes.plot(bins.predicted, bins.won, label=_label(comparison, name, "ece"), **style)
            top = max(top, bins.predicted.max(), bins.won.max())
        limit = min(1.0, top * 1.05)
        axes.plot([0, limit], [0, limit], label="as said", zorder=1, **_RULER)
        axes.set(xlim=(0, limit), ylim=(0, limit))
        axes.legend(loc="upper left", title="model (ECE)", alignment="left")
    return figure


def promises(found: Reliability) -> Figure:
    """Draw what was seen against what was promised, in ten bins of equal counts with their 95 % intervals.

    Parameters
    ----------
    found : Reliability

    Returns
    -------
    Figure
        A point with its interval a bin, beside the dotted line of probabilities that hold.
    """
    with mpl.rc_context(_RC):
        figure, axes = _axes("Promised and seen", "probability said", "share really won")
        bins = found.table
        style: dict[str, Any] = dict(_MODEL_STYLES[0])
        axes.plot(bins["promised"], bins["observed"], label="seen", **style)
        axes.vlines(bins["promised"], bins["low"], bins["high"], color=style["color"], linewidth=1)
        limit = min(1.0, 1.05 * float(max(bins["promised"].max(), bins["high"].max())))
        axes.plot([0, limit], [0, limit], label="as said", zorder=1, **_RULER)
        axes.set(xlim=(0, limit), ylim=(0, limit))
        axes.legend(loc="upper left")
    return figure


def precision_recall(comparison: Comparison) -> Figure:
    """Draw the share won among the leads worked against the share of the won leads reached.

    Parameters
    ----------
    comparison : Comparison

    Returns
    -------
    Figure
        A line a model from its first 20 leads on (before that, precision is noise), over the dotted line of
        the overall share won; the legend gives the average precision.
    """
    with mpl.rc_context(_RC):
        title, x = "Precision and recall", "recall: won leads reached"
        figure, axes = _axes(title, x, "precision: won among leads worked")
        y = _outcome(comparison)
        axes.axhline(float(y.mean()), label="at random", **_RULER)
        for name, style in _styles(comparison):
            m = mass(ranking(y, comparison.predictions[name]))
            steps = np.flatnonzero(m.all >= min(20.0, m.total))
            steps = steps[np.unique(np.linspace(0, len(steps) - 1, 2 * _POINTS).astype(int))]
            recall, precision = m.won[steps] / m.total_won, m.won[steps] / m.all[steps]
            label = _label(comparison, name, "average_precision")
            axes.plot(recall, precision, label=label, markevery=0.25, **style)
        axes.set(xlim=(0, 1), ylim=(0, 1.01))
        axes.legend(loc="upper right", title="model (average precision)", alignment="left")
    return figure


ALL: Final[Mapping[str, Callable[[Comparison], Figure]]] = {
    "gains": gains,
    "reliability": reliability,
    "precision_recall": precision_recall,
}
"""Every picture of a comparison, by name."""


@dataclass(frozen=True, eq=False)
class Line:
    """A line of a picture.

    Parameters
    ----------
    name : str
    x, y : array of shape (k,)
    low, high : array of shape (k,), optional
        The interval of y, drawn as a band.
    """

    name: str
    x: Floats
    y: Floats
    low: Floats | None = None
    high: Floats | None = None


def banded(
    title: str,
    axes: tuple[str, str],
    lines: Sequence[Line],
    *,
    shares: tuple[bool, bool] = (False, False),
    uprights: Mapping[str, float] | None = None,
    level: tuple[str, float] | None = None,
    most: float | None = None,
) -> Figure:
    """Draw lines with the bands of their intervals.

    Parameters
    ----------
    title : str
    axes : tuple of str
        What is on x and on y.
    lines : sequence of Line
    shares : tuple of bool
        Whether x and y are shares, written in per cent.
    uprights : mapping of str to float, optional
        Places on x to mark, by what they are.
    level : tuple of str and float, optional
        A place on y to mark, and what it is.
    most : float, optional
        Where x ends.

    Returns
    -------
    Figure
    """
    with mpl.rc_context(_RC):
        figure, drawn = _axes(title, *axes)
        for axis, share in zip((drawn.xaxis, drawn.yaxis), shares, strict=True):
            axis.set_major_formatter(PercentFormatter(1) if share else StrMethodFormatter("{x:,.6g}"))
        styles: Sequence[dict[str, Any]] = (*map(dict, _MODEL_STYLES[:1]), dict(_BASELINE_STYLE))
        for place, line in enumerate(lines):
            style = styles[place % 2]
            every = max(1, len(line.x) // 8)
            drawn.plot(line.x, line.y, label=line.name, markevery=every, **style)
            if line.low is not None and line.high is not None:
                drawn.fill_between(line.x, line.low, line.high, color=style["color"], alpha=0.15, linewidth=0)
        for dashes, (name, at) in zip(("-", "--", ":"), (uprights or {}).items(), strict=False):
            drawn.axvline(at, color="#555555", linewidth=1, linestyle=dashes, label=name)
        if level is not None:
            drawn.axhline(level[1], label=level[0], **_RULER)
        drawn.set(xlim=(None, most))
        drawn.legend(loc="best")
    return figure


def svg(figure: Figure) -> str:
    """Write a figure as SVG text to be put into a page: the same figure always gives the same text.

    Parameters
    ----------
    figure : Figure

    Returns
    -------
    str
        One `svg` element, without date, program or XML prologue.

    Examples
    --------
    >>> svg(Figure(figsize=(1, 1))) == svg(Figure(figsize=(1, 1)))
    True
    """
    text = io.StringIO()
    with mpl.rc_context(_RC):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    written = text.getvalue()
    return written[written.index("<svg") :]


def data_uri(figure: Figure) -> str:
    """Give a figure as the address of an image, in which nothing can run."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg(figure).encode()).decode()}"
