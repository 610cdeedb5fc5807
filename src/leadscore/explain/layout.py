"""How the sum behind a score is laid out: as text for a terminal, and as HTML that stands by itself."""

import base64
import hashlib
import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from leadscore.explain.card import FEW, STAGE_NAMES, Driver, Explanation, capital, odds, stage_name
from leadscore.explain.drivers import whole
from leadscore.explain.wording import clean

if TYPE_CHECKING:
    from jinja2 import Environment

_HERE: Final = Path(__file__).parent
_NOTE: Final = "Reasons are associated with the score; they do not prove a cause."
_STYLE: Final = ("card.css.j2",)


# ------------------------------------------------------------------------------------------ as text
def text(why: Explanation, width: int = 80, *, all_reasons: bool = False) -> str:
    """Give an explanation as plain text, as `Explanation.text`."""
    lines = list(wrapped((head(why), why.chance, why.stage_reason), width))
    lines += ["", *sum_lines(why, width, all_reasons=all_reasons), "", *made_lines(why, width)]
    return "\n".join(lines)


def head(why: Explanation) -> str:
    """Name the lead, its stage, its score and its grade."""
    grade = f" · grade {why.grade}" if why.grade else ""
    return f"Lead {clean(why.lead_id)} · {stage_name(why.stage)} · score {why.shown_score} of 100{grade}"


def sum_lines(why: Explanation, width: int, *, all_reasons: bool = False) -> list[str]:
    """Lay out how the score adds up."""
    lines = row(f"{why.shown_base:d}", "a typical lead", width)
    for title, drivers in sections(why):
        lines += ["", f"        {title}"] if title else [""]
        for driver in drivers:
            lines += row(f"{driver.shown:+d}", driver.text, width)
    if why.rest and all_reasons:
        lines += ["", "        all others"]
        for driver in why.rest:
            lines += row(f"{driver.shown:+d}", driver.text, width)
    elif why.rest:
        lines += ["", *row(signed(sum(d.shown for d in why.rest)), everything_else(why), width)]
    return [*lines, "   ---", *row(f"{why.shown_score:d}", "score", width)]


def made_lines(why: Explanation, width: int, digest: str = "") -> list[str]:
    """Say what the families add, and what made the score."""
    return list(wrapped((f"{families(why)}. {_NOTE}", made(why, digest)), width))


def row(number: str, said: str, width: int) -> list[str]:
    """Lay one line of a sum out, its text wrapped beside the number."""
    first, *more = textwrap.wrap(said, max(20, width - 8)) or [""]
    return [f"{number:>6}  {first}", *(f"{'':8}{line}" for line in more)]


def wrapped(parts: tuple[str, ...], width: int) -> Iterator[str]:
    """Break sentences into lines."""
    return (line for part in parts for line in textwrap.wrap(part, width))


# ------------------------------------------------------------------------------------------ as HTML
def html(why: Explanation) -> str:
    """Give an explanation as a page of its own, as `Explanation.html`."""
    return page("card.html.j2", f"Lead {clean(why.lead_id)}: score {why.shown_score}", {"card": view(why)})


def fragment(why: Explanation) -> str:
    """Give an explanation as an article with its style, for notebooks."""
    article = templates().get_template("card.html.j2").render(card=view(why))
    return f"<style>{style(_STYLE)}</style>\n{article}"


def page(template: str, title: str, given: dict[str, Any], styles: tuple[str, ...] = _STYLE) -> str:
    """Put an article on a page that runs nothing and fetches nothing.

    Parameters
    ----------
    template : str
        Of the article.
    title : str
    given : dict
        What the article shows.
    styles : tuple of str
        Templates of its style sheet.
    """
    sheet = style(styles)
    digest = base64.b64encode(hashlib.sha256(sheet.encode()).digest()).decode()
    shell = templates().get_template("page.html.j2")
    return shell.render(given, article=template, title=title, sheet=sheet, digest=digest)


def view(why: Explanation) -> dict[str, Any]:
    """Give what the templates show: texts, integers and lengths in percent.

    Returns
    -------
    dict
        The variable ``card`` of ``card.html.j2``.
    """
    shown = [driver for _, drivers in sections(why) for driver in drivers]
    largest = max((abs(driver.shown) for driver in (*shown, *why.rest)), default=0) or 1
    rank = list(STAGE_NAMES).index(why.stage) if why.stage in STAGE_NAMES else 0
    fit, engagement = why.grade.rstrip("1234"), why.grade.lstrip("ABCD")
    grades = [f"fit {fit}"] * bool(fit) + [f"engagement {engagement}"] * bool(engagement)
    few = why.probability < FEW or not why.calibrated
    return {
        "lead": clean(why.lead_id),
        "stage": stage_name(why.stage),
        "rank": rank,
        "stage_reason": why.stage_reason,
        "grade": why.grade,
        "grades": ", ".join(grades),
        "odds": odds(why.probability) if why.calibrated else "",
        "convert": why.convert if why.calibrated else why.chance,
        "dots": None if few else min(99, round(100 * why.probability)),
        "score": why.shown_score,
        "base": why.shown_base,
        "at": f"{why.score:.2f}",
        "base_at": f"{min(100.0, max(0.0, why.base)):.2f}",
        "lines": [
            {"name": stage_name(name), "from": whole(score), "at": f"{score:.2f}"}
            for name, score in why.lines.items()
            if 0 < score < 100
        ],
        "sections": [
            {"title": capital(title), "rows": [_bar(driver, largest) for driver in drivers]}
            for title, drivers in sections(why)
        ],
        "rest": sum(driver.shown for driver in why.rest),
        "rest_text": capital(everything_else(why)) if why.rest else "",
        "rest_rows": [_bar(driver, largest) for driver in why.rest],
        "families": families(why),
        "note": _NOTE,
        "made": made(why),
    }


def _bar(driver: Driver, largest: int) -> dict[str, Any]:
    return {"driver": driver, "length": f"{50 * abs(driver.shown) / largest:.2f}"}


@cache
def style(names: tuple[str, ...] = _STYLE) -> str:
    """Give style sheets as one."""
    return "".join(templates().get_template(name).render() for name in names)


@cache
def templates() -> "Environment":
    """Give the templates beside this file: every value is escaped, an absent one is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    found = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["signed"] = lambda points: signed(points).replace("-", "−")
    return found


# ------------------------------------------------------------------------------------------ in words
def sections(why: Explanation) -> list[tuple[str, tuple[Driver, ...]]]:
    """Give the reasons that are listed, under their headings."""
    found = [
        ("associated with a higher score", why.up),
        ("associated with a lower score", why.down),
        ("", why.limits),
    ]
    return [(title, drivers) for title, drivers in found if drivers]


def everything_else(why: Explanation) -> str:
    """Name the reasons that are not listed."""
    return f"everything else ({len(why.rest)} other reason{'s' * (len(why.rest) != 1)})"


def families(why: Explanation) -> str:
    """Say what each family of reasons adds."""
    parts = {"Fit": why.fit, "engagement": why.engagement, "operations": why.operations}
    return ", ".join(f"{name} {signed(points)}" for name, points in parts.items())


def made(why: Explanation, digest: str = "") -> str:
    """Say when, by which model and under which policy the score was made."""
    moment = "" if why.as_of is None else f" as of {why.as_of:%Y-%m-%d %H:%M} UTC"
    model = f"{clean(why.model)} ({clean(digest[:12])})" if digest else clean(why.model)
    return f"Scored{moment} by {model}, policy revision {why.policy_revision}."


def signed(points: float) -> str:
    """Write points as a whole number with its sign; 0 has none."""
    rounded = whole(points)
    return f"{rounded:+d}" if rounded else "0"
