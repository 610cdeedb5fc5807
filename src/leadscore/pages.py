"""What the HTML pages share: one style, and templates that escape every value and let nothing run."""

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leadscore.errors import shown

if TYPE_CHECKING:
    from jinja2 import Environment


def page(template: str, **values: Any) -> str:
    """Render a page: no script, nothing fetched, every value escaped.

    Parameters
    ----------
    template : str
        A file beside this one.
    values
        What it shows. It is also given `style`, and `digest`, the style's SHA-256 as a policy names it.

    Returns
    -------
    str
    """
    digest = base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()
    return _templates().get_template(template).render(style=_style(), digest=digest, **values)


@cache
def _style() -> str:
    return (Path(__file__).parent / "report.css").read_text()


@cache
def _templates() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    templates.filters["shown"] = shown
    return templates
