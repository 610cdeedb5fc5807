"""What a nasty day brings, through the command line: one line that teaches, or the documented meaning."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from leadscore.simulate import World

MOMENT = "2025-12-01T00:00:00Z"
TAUGHT = re.compile(r"^(.*: )?expected \S.*; found \S.*; \S.*$")

Run = Callable[..., Any]
Refused = Callable[..., str]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to stand in."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    return here


@pytest.fixture
def refused(run: Run, place: Path) -> Refused:
    """Run a command that is refused: one line, expected, found and the way out, and nothing written."""

    def refused(*words: object, code: int = 1) -> str:
        before = {path: path.stat().st_mtime_ns for path in place.parent.rglob("*")}
        done = run(*words)
        assert done.code == code, done
        assert not done.out
        line = done.refusal
        assert TAUGHT.match(line), line
        assert {path: path.stat().st_mtime_ns for path in place.parent.rglob("*")} == before
        return str(line)

    return refused


@pytest.fixture(scope="session")
def few(world: World) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Some leads of the world and what they did."""
    leads = world.leads.slice(0, 120).to_pandas()
    events = world.events.to_pandas()
    return leads, events[events["lead_id"].isin(leads["lead_id"])].reset_index(drop=True)


@pytest.fixture
def asked(
    place: Path, few: tuple[pd.DataFrame, pd.DataFrame], folder_of: dict[str, Path]
) -> Callable[..., tuple[object, ...]]:
    """The words that score the leads, once a test has had its way with the tables."""

    def asked(
        leads: Callable[[pd.DataFrame], pd.DataFrame] = lambda frame: frame,
        events: Callable[[pd.DataFrame], pd.DataFrame] = lambda frame: frame,
        *,
        ending: str = "csv",
    ) -> tuple[object, ...]:
        for name, change, frame in zip(("leads", "events"), (leads, events), few, strict=True):
            changed = change(frame.copy())
            if ending == "csv":
                changed.to_csv(place / f"{name}.csv", index=False)
            else:
                changed.to_parquet(place / f"{name}.parquet", index=False)
        tables = (place / f"leads.{ending}", "--events", place / f"events.{ending}")
        return ("score", folder_of["logistic"], *tables, "--as-of", MOMENT, "--out", place / "scores.csv")

    return asked


def scores(run: Run, words: tuple[object, ...]) -> tuple[pd.DataFrame, list[str]]:
    """The scores, and the notes beside them."""
    done = run(*words)
    assert done.code == 0, done.err
    notes = [line.removeprefix("note: ") for line in done.err.splitlines()]
    assert all(line.startswith("note: ") for line in done.err.splitlines())
    return pd.read_csv(words[-1], dtype={"lead_id": str}), notes


def put(value: object, column: str, *rows: int) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """A change that puts a value into some cells."""

    def change(frame: pd.DataFrame) -> pd.DataFrame:
        cells = frame[column].astype(object).where(frame[column].notna(), None).tolist()
        for row in rows:
            cells[row] = value
        return frame.assign(**{column: cells})

    return change


def without(notes: list[str]) -> list[str]:
    """Notes but for those that the moment and the anonymous visits explain."""
    return [note for note in notes if "the moment" not in note and "visitor_id" not in note]


# ------------------------------------------------------------------------------------------------- files
def test_a_missing_file(refused: Refused, asked: Any, place: Path) -> None:
    score, model, leads, *rest = asked()
    assert "no file at none.csv" in refused(score, model, "none.csv", *rest)
    words = [("none.parquet" if word == place / "events.csv" else word) for word in asked()]
    assert "a file with events; found no file at none.parquet" in refused(*words)
    assert "a directory" in refused(score, model, place, *rest)
    assert "a configuration file none.yaml" in refused("check", "none.yaml", code=2)
    assert "a saved model in none" in refused(score, "none", leads, *rest)


def test_a_missing_file_in_a_config(refused: Refused, wide: Path) -> None:
    (wide / "leads.csv").unlink()
    for command in (("check",), ("compare", "--no-mlflow"), ("train", "--no-mlflow", "--out", "model")):
        assert "leads.csv; correct the path" in refused(command[0], wide / "wide.yaml", *command[1:])


def test_the_wrong_delimiter(refused: Refused, asked: Any, wide: Path, wide_frame: pd.DataFrame) -> None:
    words = asked()
    text = (Path("leads.csv")).read_text()
    Path("leads.csv").write_text(text.replace(",", ";"))
    assert "columns divided by ',' in leads.csv; found one column, whose name holds ';'" in refused(*words)
    wide_frame.to_csv(wide / "leads.csv", sep="\t", index=False)
    line = refused("train", wide / "wide.yaml", "--no-mlflow", "--out", "model")
    assert "whose name holds a tab; set delimiter to a tab in the config" in line


@pytest.mark.parametrize("content", [b"", b"\x00\x01\x02", b"PAR1 not really", b"\xff\xfe\x00a,\xd8\x00b\n"])
@pytest.mark.parametrize("ending", ["csv", "parquet", "csv.gz", "xlsx"])
def test_a_file_that_holds_something_else(refused: Refused, asked: Any, content: bytes, ending: str) -> None:
    score, model, _, *rest = asked()
    leads = Path(f"odd.{ending}")
    leads.write_bytes(content)
    assert "odd" in refused(score, model, leads, *rest)


# ----------------------------------------------------------------------------------------------- columns
@pytest.mark.parametrize("name", ["lead_id", "created_at", "industry", "company_size"])
def test_a_missing_column(refused: Refused, asked: Any, name: str) -> None:
    near = name.capitalize()
    line = refused(*asked(leads=lambda frame: frame.rename(columns={name: near})))
    assert f"a column '{name}' in the leads table" in line
    assert f"(did you mean '{near}'?)" in line


@pytest.mark.parametrize("name", ["occurred_at", "event_type", "value"])
def test_a_missing_column_of_the_events(refused: Refused, asked: Any, name: str) -> None:
    line = refused(*asked(events=lambda frame: frame.drop(columns=name)))
    assert f"a column '{name}' in the events table" in line


def test_extra_columns_do_not_matter(run: Run, asked: Any) -> None:
    expected, _ = scores(run, asked())
    more = asked(leads=lambda f: f.assign(mood="=1+1", score=3.5), events=lambda f: f.assign(x=1))
    found, notes = scores(run, more)
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
    assert not without(notes)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_column_of_the_wrong_type(refused: Refused, asked: Any, ending: str) -> None:
    line = refused(*asked(leads=lambda f: f.assign(company_size="big"), ending=ending))
    assert "numbers in column 'company_size'" in line
    line = refused(*asked(leads=lambda f: f.assign(created_at="soon"), ending=ending))
    assert "column 'created_at'" in line
    if ending == "parquet":
        line = refused(*asked(leads=lambda f: f.assign(industry=[["a"]] * len(f)), ending=ending))
        assert "'industry'" in line


def test_an_all_missing_column_is_missing_values(run: Run, asked: Any) -> None:
    found, notes = scores(run, asked(leads=lambda f: f.assign(industry=None, company_size=None)))
    assert len(found) > 100
    assert found["probability"].between(0, 1).all()
    assert not without(notes)


def test_a_constant_column_is_no_trouble(run: Run, asked: Any) -> None:
    found, notes = scores(run, asked(leads=lambda f: f.assign(industry="Retail", company_size=50)))
    assert len(found) > 100
    assert not without(notes)


# --------------------------------------------------------------------------------------------------- ids
def test_a_duplicate_id(refused: Refused, asked: Any) -> None:
    line = refused(*asked(leads=lambda f: pd.concat([f, f.iloc[[7]]])))
    assert "one row a lead" in line
    assert "rows 7 and 120" in line
    assert "L0000" not in line  # a person's id is nobody's business


def test_rows_without_an_id_are_reported_and_left_out(run: Run, asked: Any) -> None:
    expected, _ = scores(run, asked())
    gone = expected["lead_id"].iloc[4]
    found, notes = scores(run, asked(leads=put(None, "lead_id", 4)))
    assert any(note.startswith("leads: no 'lead_id': 1 row left out") for note in notes)
    kept = expected[expected["lead_id"] != gone]
    pd.testing.assert_frame_equal(found, kept.reset_index(drop=True), check_exact=True)


def test_events_of_unknown_leads_are_reported(run: Run, asked: Any) -> None:
    expected, _ = scores(run, asked())
    strange = lambda f: pd.concat([f, f.head(3).assign(lead_id="X1", visitor_id=None, event_id=None)])  # noqa: E731
    found, notes = scores(run, asked(events=strange))
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
    assert any("events: 'lead_id' is not in the leads table: 3 rows left out" in note for note in notes)


def test_a_lead_that_is_not_there(refused: Refused, asked: Any) -> None:
    _, model, leads, *rest = asked()
    line = refused("explain", model, leads, *rest[:-2], "--lead", "L999999")
    assert "a lead 'L999999'; found none among" in line
    assert "correct the id" in line
    assert "events:" not in line


# -------------------------------------------------------------------------------------------------- time
def test_dates_that_do_not_parse(run: Run, refused: Refused, asked: Any) -> None:
    expected, _ = scores(run, asked())
    found, notes = scores(run, asked(leads=put("soon", "created_at", 3)))
    assert any("'created_at' is no time in ISO 8601: 1 row left out (3)" in note for note in notes)
    kept = expected.drop(index=3).reset_index(drop=True)
    pd.testing.assert_frame_equal(found, kept, check_exact=True)
    Path("scores.csv").unlink()
    odd = lambda f: f.assign(occurred_at=f["occurred_at"].dt.strftime("%d/%m/%Y"))  # noqa: E731
    assert "times in ISO 8601" in refused(*asked(events=odd))


def test_naive_times_without_a_zone(refused: Refused, asked: Any) -> None:
    naive = lambda f: f.assign(created_at=f["created_at"].dt.tz_localize(None))  # noqa: E731
    line = refused(*asked(leads=naive))
    assert "an offset in the times of column 'created_at'" in line
    assert "set timezone in the config" in line


@pytest.mark.parametrize(
    ("moment", "said"),
    [
        ("2099-01-01T00:00:00Z", "a moment that has come"),
        ("2026-06-01T12:00:01Z", "a moment that has come"),
        ("2026-06-01T08:00:01-04:00", "a moment that has come"),
        ("2025-12-01", "a time with its zone"),
        ("2025-12-01T00:00:00", "a time with its zone"),
        ("yesterday", "a time with its zone"),
        ("now", "a time with its zone"),
        ("01/12/2025", "a time with its zone"),
        ("", "a time with its zone"),
        ("NaT", "a time with its zone"),
        ("1764547200", "a time with its zone"),
    ],
)
def test_a_moment_that_is_none_or_has_not_come(refused: Refused, asked: Any, moment: str, said: str) -> None:
    words = [moment if word == MOMENT else word for word in asked()]
    assert said in refused(*words, code=2)


def test_a_moment_before_every_lead(run: Run, asked: Any) -> None:
    words = ["2020-01-01T00:00:00Z" if word == MOMENT else word for word in asked()]
    found, notes = scores(run, tuple(words))
    assert found.empty
    assert list(found.columns) == ["lead_id", "probability", "score", "stage", "fit", "engagement"]
    assert "leads: created at or after the moment: 120 rows left out" in notes


def test_no_events_at_all_are_asked_for(refused: Refused, asked: Any) -> None:
    words = asked()
    assert "--events" in refused(*words[:3], *words[5:], code=2)


# ------------------------------------------------------------------------------------------------- values
def test_an_empty_table(run: Run, refused: Refused, asked: Any, wide: Path, wide_frame: pd.DataFrame) -> None:
    found, _ = scores(run, asked(leads=lambda f: f.head(0)))
    assert found.empty
    found, _ = scores(run, asked(events=lambda f: f.head(0)))
    assert len(found) > 100
    wide_frame.head(0).to_csv(wide / "leads.csv", index=False)
    line = refused("train", wide / "wide.yaml", "--no-mlflow", "--out", "model")
    assert "at least one lead" in line


def test_one_class_only(refused: Refused, wide: Path, wide_frame: pd.DataFrame) -> None:
    wide_frame[wide_frame["Bought"] == "yes"].to_csv(wide / "leads.csv", index=False)
    for command in (("check",), ("train", "--no-mlflow", "--out", "model")):
        line = refused(command[0], wide / "wide.yaml", *command[1:])
        assert "one class only" in line
    wide_frame[wide_frame["Bought"] == "no"].to_csv(wide / "leads.csv", index=False)
    assert "found none of yes" in refused("check", wide / "wide.yaml")


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_infinite_numbers_are_missing_and_reported(run: Run, asked: Any, ending: str) -> None:
    found, notes = scores(run, asked(leads=put(float("inf"), "company_size", 5), ending=ending))
    expected, _ = scores(run, asked(leads=put(None, "company_size", 5)))
    assert any("'company_size' is infinite and counts as missing: 1 row kept (5)" in note for note in notes)
    pd.testing.assert_frame_equal(found, expected, check_exact=True)


def test_a_number_that_is_none_is_missing_and_reported(run: Run, asked: Any) -> None:
    found, notes = scores(run, asked(leads=put("many", "company_size", 5)))
    assert any("'company_size' is no number and counts as missing: 1 row kept (5)" in note for note in notes)
    assert len(found) == len(scores(run, asked())[0])


def test_a_category_never_seen_counts_as_any_rare_one(run: Run, asked: Any) -> None:
    one, notes = scores(run, asked(leads=lambda f: f.assign(industry="Beekeeping")))
    two, _ = scores(run, asked(leads=lambda f: f.assign(industry="<b>Ünïcode</b> \N{HONEYBEE}")))
    pd.testing.assert_frame_equal(one, two, check_exact=True)
    assert not without(notes)


def test_one_bad_row_among_many_changes_no_other(run: Run, asked: Any) -> None:
    expected, _ = scores(run, asked())

    def spoilt(frame: pd.DataFrame) -> pd.DataFrame:
        frame = frame.astype(object)
        frame.loc[9, ["company_size", "industry", "job_title", "email"]] = ["∞", "?", "\x00\x1b[31m", "@@"]
        frame.loc[20, "created_at"] = "31.02.2025"
        return frame

    found, notes = scores(run, asked(leads=spoilt))
    ids = pd.read_csv("leads.csv", dtype=str)["lead_id"]
    expected = expected[~expected["lead_id"].isin(ids.loc[[9, 20]])]
    others = found[found["lead_id"] != ids[9]]
    pd.testing.assert_frame_equal(
        others.reset_index(drop=True), expected.reset_index(drop=True), check_exact=True
    )
    assert ids[20] not in set(found["lead_id"])
    told = without(notes)
    assert len(told) == 3
    assert any("'company_size' is no number" in note and "(9)" in note for note in told)
    assert any("'created_at' is no time" in note and "(20)" in note for note in told)
    assert any("events: 'lead_id' is not in the leads table" in note for note in told)  # those of row 20


def test_a_row_with_too_many_fields_is_left_out(run: Run, asked: Any) -> None:
    words = asked()
    expected, _ = scores(run, words)
    lines = Path("leads.csv").read_text().splitlines()
    lines.insert(4, "L777777,too,few")
    Path("leads.csv").write_text("\n".join(lines) + "\n")
    found, notes = scores(run, words)
    assert any("not 14 fields, as the header has: 1 row left out (3)" in note for note in notes)
    pd.testing.assert_frame_equal(found, expected, check_exact=True)


# ------------------------------------------------------------------------------------------------- models
def test_models_that_are_truncated_altered_or_newer(refused: Refused, asked: Any, tmp_path: Path) -> None:
    score, model, *rest = asked()
    harmed = Path(shutil.copytree(model, tmp_path / "harmed"))
    file = harmed / "part1.linear.json"
    content = file.read_bytes()
    file.write_bytes(content[:-20])
    assert "of the size that the manifest says" in refused(score, harmed, *rest)
    file.write_bytes(content.replace(b"0", b"1", 1))
    assert "altered content" in refused(score, harmed, *rest)
    file.unlink()
    assert "'part1.linear.json' missing" in refused(score, harmed, *rest)
    file.write_bytes(content)
    manifest = harmed / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"format": 1', '"format": 2', 1))
    assert "format 2; update leadscore" in refused(score, harmed, *rest)
    manifest.write_text("{")
    for command in (
        (score, harmed, *rest),
        ("explain", harmed, rest[0], "--lead", "L1"),
        ("threshold", "tune", harmed, "--share", "0.1"),
        ("threshold", "preview", harmed, "--mql", "0.1"),
        ("threshold", "set", harmed, "--mql", "0.1", "--reason", "why"),
        ("threshold", "history", harmed),
        ("threshold", "undo", harmed),
    ):
        assert "damaged" in refused(*command)


# -------------------------------------------------------------------------------------------- ways to write
@pytest.mark.parametrize(
    ("out", "said"),
    [
        ("scores.xlsx", ".csv, .parquet or .jsonl"),
        ("scores", ".csv, .parquet or .jsonl"),
        ("leads.csv/scores.csv", "a place to write"),
        ("folder.csv", "a folder of that name"),
    ],
)
def test_an_output_that_cannot_be(refused: Refused, asked: Any, place: Path, out: str, said: str) -> None:
    (place / "folder.csv").mkdir()
    assert said in refused(*asked()[:-1], out, code=2)


def test_an_output_inside_the_model_would_spoil_it(refused: Refused, asked: Any, tmp_path: Path) -> None:
    score, model, leads, *rest = asked()
    copy = Path(shutil.copytree(model, tmp_path / "model"))
    said = "an output outside the model's directory"
    assert said in refused(score, copy, leads, *rest[:-1], copy / "scores.csv", code=2)
    assert said in refused("explain", copy, leads, "--lead", "x", "--out", copy / "card.html", code=2)
    tuned = ("threshold", "tune", copy, "--share", "0.1", "--json", copy / "sub" / "tuning.json")
    assert said in refused(*tuned, code=2)


def test_an_output_never_takes_the_place_of_a_table(refused: Refused, asked: Any, place: Path) -> None:
    words = asked()
    for table in ("leads.csv", place / "events.csv", "../here/leads.csv"):
        assert "an output beside the tables; found one of them" in refused(*words[:-1], table, code=2)
    _, model, leads, *_ = words
    assert "found one of them" in refused("explain", model, leads, "--lead", "x", "--out", leads, code=2)


def test_where_a_model_cannot_go(refused: Refused, wide: Path, place: Path) -> None:
    (place / "notes").mkdir()
    (place / "notes" / "diary.txt").write_text("dear diary")
    (place / "file").write_text("")
    for out in ("notes", "file", ".", "file/model"):
        line = refused("train", wide / "wide.yaml", "--no-mlflow", "--out", out, code=2)
        assert "choose another" in line
    words = ("train", wide / "wide.yaml", "--no-mlflow", "--out", "model", "--json")
    assert "outside the model's directory" in refused(*words, "model/comparison.json", code=2)
    assert "a folder of that name" in refused(*words, "notes", code=2)


# ------------------------------------------------------------------------------------------------- config
def test_a_leak_says_what_to_do(refused: Refused, wide: Path, wide_settings: dict[str, Any]) -> None:
    (wide / "wide.yaml").write_text(yaml.safe_dump(wide_settings | {"exclude": {}}))
    for command in (("compare", "--no-mlflow"), ("train", "--no-mlflow", "--out", "model")):
        line = refused(command[0], wide / "wide.yaml", *command[1:])
        assert "'Verdict'" in line
        assert "exclude or, with a reason, under allow" in line


def test_a_config_that_is_mistaken(refused: Refused, wide: Path) -> None:
    (wide / "wide.yaml").write_text("name: x\npionts: []\n")
    line = refused("check", wide / "wide.yaml", code=2)
    assert "wide.yaml" in line
    assert "did you mean 'points'" in line
