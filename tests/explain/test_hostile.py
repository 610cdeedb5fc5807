"""What a table says stays text: 2,000 hostile strings as ids, fields, levels, events, contents and names."""

import csv
import json
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pytest

from leadscore import cards
from leadscore.bundle import Bundle
from leadscore.data.contract import Contract, EventColumns
from leadscore.explain.card import GradeCuts
from leadscore.explain.full import Card
from leadscore.features.declare import AttributeFeature, EventFeature, Feature
from leadscore.files import write_table
from leadscore.models.calibration import Scale, Sigmoid
from leadscore.models.conditions import Condition
from leadscore.models.linear import LevelsTerm, LinearTable, NumberTerm
from leadscore.models.matrix import Column
from leadscore.policy.policy import Policy
from leadscore.policy.rules import Rule
from leadscore.predict import LeadModel

AS_OF = "2025-06-01T00:00:00Z"
TOGETHER = 20  # strings on one card
PAYLOADS = (
    "<script>document.title='RAN'</script>",
    "<script src=//127.0.0.1:9/x.js></script>",
    "\"><img src=http://127.0.0.1:9/x onerror=\"document.title='RAN'\">",
    "' onmouseover='document.title=1",
    "\" autofocus onfocus=\"document.title='RAN'\" x=\"",
    "<svg onload=document.title='RAN'>",
    "</style><script>document.title='RAN'</script>",
    "</title></head><body onload=document.title='RAN'>",
    "<iframe src=http://127.0.0.1:9/></iframe>",
    "<link rel=stylesheet href=http://127.0.0.1:9/x.css>",
    "<meta http-equiv=refresh content='0;url=http://127.0.0.1:9/'>",
    "<base href=http://127.0.0.1:9/>",
    "<form action=http://127.0.0.1:9/><button>",
    "<details open ontoggle=document.title='RAN'>",
    "<a href=\"javascript:document.title='RAN'\">x</a>",
    "javascript:document.title='RAN'",
    "data:text/html,<script>document.title='RAN'</script>",
    "{{ 7 * 7 }}{% include 'x' %}{# #}",
    "{{ ''.__class__.__mro__ }}",
    "}*{background:url(http://127.0.0.1:9/x)}",
    "@import 'http://127.0.0.1:9/x.css';",
    "expression(document.title='RAN')",
    "<!--", "-->", "]]>", "<![CDATA[", "&lt;script&gt;", "&#60;b&#62;", "%3Cscript%3E",
    "\x00<b>", "\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\x9b31m", "\r\n<script>", "a\tb\x08",
    "\u202eevil\u2066", "\u200fx\u200b", "\u2028line",
    "=HYPERLINK(\"http://127.0.0.1:9/\";\"x\")", "+1+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1+1", "\r=1",
    "x" * 3_000, "<b>" * 900, "[red]bold[/red]", "\\u003cscript\\u003e", "../../etc/passwd",
    "%n%s", "'; DROP--",
)  # fmt: skip
ELEMENTS = {
    *("html", "head", "meta", "title", "style", "body", "article", "header", "footer", "section", "div", "p"),
    *("b", "span", "svg", "rect", "circle", "path", "text", "table", "caption", "thead", "tbody", "tr", "th"),
    *("td", "dl", "dt", "dd", "h1", "h2", "ul", "li", "details", "summary", "a"),
}
ATTRIBUTES = {
    *("lang", "charset", "http-equiv", "content", "name", "class", "aria-label", "aria-hidden", "role"),
    *("title", "width", "height", "x", "y", "rx", "cx", "cy", "r", "viewbox", "scope", "colspan", "d", "dy"),
    *("preserveaspectratio", "text-anchor", "href"),
}
VOID = {"meta", "rect", "circle", "path"}
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]")


def strings(n: int) -> list[str]:
    """Give hostile strings, each once: the payloads, cut, doubled, joined and hidden in other text."""
    rng = np.random.default_rng(5)
    found = dict.fromkeys(PAYLOADS)
    while len(found) < n:
        one, other = (PAYLOADS[i] for i in rng.integers(0, len(PAYLOADS), 2))
        cut = int(rng.integers(0, len(one) + 1))
        made = (f"{one}{other}", f"{one[:cut]}{other}", f"acme {one} gmbh", f"{one}{rng.integers(9**9)}")
        found[made[int(rng.integers(0, len(made)))][:4_000]] = None
    return list(found)


def number_term(coefficient: float) -> NumberTerm:
    return NumberTerm(False, -1e9, 1e9, 0.0, 1.0, coefficient, missing=0.1, mean=0.2)


def hostile(texts: list[str], *, calibrated: bool = True) -> tuple[LeadModel, list[Any], list[Any]]:
    """Make a model whose fields, levels, events and rules have these names, and a lead of the same."""
    third = len(texts) // 3
    fields, contents = texts[:third], texts[third:]
    features: list[Feature] = [AttributeFeature("category", name, levels=(name,)) for name in fields]
    features += [EventFeature("count", text, content=text) for text in contents]
    features += [AttributeFeature("lead_age"), EventFeature("recency", texts[0])]
    terms = [LevelsTerm((1.5 - j, 0.1), missing=-0.3, mean=0.2) for j in range(len(fields))]
    terms += [number_term(0.4 * (-1) ** j * (j + 1)) for j in range(len(contents))]
    terms += [number_term(-0.01), number_term(-0.1)]
    columns = tuple(Column(feature.name, feature.categories) for feature in features)
    rule = Rule(texts[1], (Condition(columns[0].name, "is", "never"),), reason=texts[2])
    policy = Policy(mql=0.1, sales_ready=0.3, suppress=(rule,))
    contract = Contract(
        lead_id="id",
        created_at="since",
        events=EventColumns(content="content", channel="channel"),
        kinds=dict.fromkeys(fields, "category"),
        event_types=tuple(sorted({*contents, texts[0]})),
    )
    bundle = Bundle(
        name=texts[-1],
        contract=contract,
        features=tuple(features),
        scorer=LinearTable(columns, tuple(terms), intercept=-1.0),
        calibration=Sigmoid(1.0, 0.0),
        scale=Scale(),
        policy=policy,
        cuts=GradeCuts((-4.0, 0.0, 4.0), (-9.0, -2.0, 7.0)),
        typical={},
        horizon=30.0,
        backtest=None,
        calibrated=calibrated,
        interval=None,
        familiar=None,
        facts={},
    )
    leads = [
        {"id": text, "since": "2025-01-01T00:00:00Z", **{name: name for name in fields[: len(fields) - k]}}
        for k, text in enumerate(texts[:2])
    ]
    events = [
        {
            "id": lead["id"],
            "occurred_at": f"2025-0{2 + k % 4}-1{k % 9}T0{k % 10}:00:00Z",
            "event_type": text,
            "content": text,
            "channel": text,
        }
        for lead in leads
        for k, text in enumerate(contents)
    ]
    return LeadModel(bundle, policy), leads, events


def made(texts: list[str]) -> Card:
    model, leads, events = hostile(texts)
    return cards.card(model, leads, events, AS_OF, lead_id=leads[0]["id"], digest=texts[3])


class Page(HTMLParser):
    """What a browser makes of a page: elements, attributes, links, and text."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: set[str] = set()
        self.attributes: set[str] = set()
        self.links: list[str] = []
        self.inside: list[str] = []
        self.said: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]
        if tag not in VOID:
            self.inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert tag in VOID or self.inside.pop() == tag  # what opens closes

    def handle_data(self, data: str) -> None:
        self.said.append(data)


def require_inert(html: str) -> Page:
    page = Page(html)
    assert page.elements <= ELEMENTS
    assert page.attributes <= ATTRIBUTES
    assert page.inside == []
    assert all(re.fullmatch(r"\d{4}-[0-9a-f]{12}\.html", link) for link in page.links)
    assert html.encode()
    assert not CONTROL.search(html)
    return page


BATCHES = [strings(2_000)[start : start + TOGETHER] for start in range(0, 2_000, TOGETHER)]


@pytest.mark.parametrize("part", range(10))
def test_hostile_strings_stay_text_wherever_they_stand(part: int) -> None:
    for texts in BATCHES[part::10]:
        card = made(texts)
        page = require_inert(card.html())
        assert not CONTROL.search(card.text())
        assert not CONTROL.search(card.text(all_reasons=True))
        assert json.loads(json.dumps(card.to_dict()))["lead_id"] == card.explanation.lead_id
        said = re.sub(r"\s+", " ", "".join(page.said))
        plain = [" ".join(CONTROL.sub("", text).replace("\n", "").split()) for text in texts]
        shown = [text for text in plain if text and text[:40] in said]
        assert len(shown) >= TOGETHER / 2  # they are there to be seen


def test_the_strings_are_two_thousand() -> None:
    assert len({text for texts in BATCHES for text in texts}) == 2_000


@pytest.mark.parametrize("part", range(0, 100, 20))
def test_a_list_for_a_spreadsheet_runs_nothing(part: int, tmp_path: Path) -> None:
    model, leads, events = hostile(BATCHES[part])
    found = cards.hand_over(model, leads, events, AS_OF, folder=tmp_path / "out")
    assert len(found.frame) == 2
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert all(
        re.fullmatch(r"index\.html|handover\.(csv|parquet)|\d{4}-[0-9a-f]{12}\.html", n) for n in names
    )
    with (tmp_path / "out" / "handover.csv").open(newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert not [c for c in cells if c.startswith(("=", "+", "-", "@", "\t", "\r")) and not is_number(c)]
    for path in (tmp_path / "out").glob("*.html"):
        require_inert(path.read_text())


def test_no_cell_of_two_thousand_begins_as_a_formula_for_two_readers(tmp_path: Path) -> None:
    texts = [text for texts in BATCHES for text in texts]
    frame = pd.DataFrame({"lead_id": texts, "reason": texts[::-1], "score": np.arange(2_000) - 7.5})
    path = write_table(frame, tmp_path / "t.csv")
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    options = pa_csv.ParseOptions(newlines_in_values=True)
    as_text = pa_csv.ConvertOptions(column_types=dict.fromkeys(("lead_id", "reason"), pa.string()))
    table = pa_csv.read_csv(path, parse_options=options, convert_options=as_text)
    assert len(rows) - 1 == table.num_rows == 2_000
    two = [table[name].to_pylist() for name in ("lead_id", "reason")]
    for cells in ([cell for row in rows[1:] for cell in row[:2]], *two):
        assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))]
    unguarded = sum(text.startswith(("=", "+", "-", "@", "\t", "\r")) for text in texts)
    assert unguarded > 100  # they are there to be run


def is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


# ------------------------------------------------------------------------------------------ in a browser
@contextmanager
def canary() -> Iterator[tuple[int, list[bytes]]]:
    """Listen on this machine, and keep what anybody asks for."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def listen() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(2)
                    asked.append(connection.recv(200))

        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        yield server.getsockname()[1], asked
        server.shutdown(socket.SHUT_RDWR)
    listener.join(5)


def opened(path: Path, profile: Path) -> str:
    browser = shutil.which("chromium")
    assert browser is not None
    quiet = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --dump-dom"
    words = [
        browser,
        *quiet.split(),
        "--virtual-time-budget=2000",
        f"--user-data-dir={profile}",
        path.as_uri(),
    ]
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=90).stdout


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="there is no chromium on the PATH")
def test_a_browser_runs_no_script_and_asks_for_nothing(tmp_path: Path) -> None:
    profile, page = tmp_path / "profile", tmp_path / "card.html"
    with canary() as (port, asked):
        here = [[text.replace("127.0.0.1:9", f"127.0.0.1:{port}") for text in texts] for texts in BATCHES]
        for texts in here[::20]:
            page.write_text(made(texts).html())
            assert "<title>RAN</title>" not in opened(page, profile)
            assert asked == []
        # The same strings where nobody escapes them: scripts run, and the canary hears of it.
        page.write_text(f"<title></title>{here[0][0]}<img src=http://127.0.0.1:{port}/x>")
        assert "<title>RAN</title>" in opened(page, profile)
        assert asked
