"""Saved models: whole or not there, and refused when one byte is not as it was written."""

import hashlib
import json
import pickletools
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from leadscore import bundle as bundles
from leadscore.bundle import Bundle
from leadscore.errors import ModelError, UsageError
from leadscore.predict import load


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    """A saved model of each kind that a test may harm."""
    return Path(shutil.copytree(folder, tmp_path / "model"))


def refused(folder: Path, **given: Any) -> str:
    with pytest.raises(ModelError) as caught:
        load(folder, **given)
    line = str(caught.value)
    assert "\n" not in line
    assert "expected" in line
    assert "found" in line
    assert caught.value.exit_code == 1
    return line


def files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name != "manifest.json")


def signed(folder: Path, change: Callable[[dict[str, Any]], object] = lambda _: None) -> None:
    """Write the manifest anew, so that its digests fit whatever the files hold by now."""
    manifest = json.loads((folder / "manifest.json").read_text())
    for path in files_of(folder):
        content = path.read_bytes()
        manifest["files"][path.name] = {
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
    change(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


# ----------------------------------------------------------------------------------------- what is written
def test_what_is_saved_is_what_is_loaded(kind: str, bundle_of: dict[str, Bundle], folder: Path) -> None:
    born, read = bundle_of[kind], bundles.load(folder)
    for name in ("name", "contract", "features", "calibration", "scale", "policy", "cuts", "horizon"):
        assert getattr(read, name) == getattr(born, name), name
    assert read.scorer.columns == born.scorer.columns == born.columns
    assert read.scorer.drivers == born.scorer.drivers
    assert dict(read.typical) == dict(born.typical)
    assert read.facts == json.loads(json.dumps(born.facts))
    for name in ("probability", "y", "week", "points", "M"):
        np.testing.assert_array_equal(getattr(read.backtest, name), getattr(born.backtest, name))
    assert read.past.columns == born.past.columns != ()


def test_the_manifest_names_every_file_with_its_digest(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["format"] == 1
    assert set(manifest["files"]) == {path.name for path in files_of(folder)}
    for path in files_of(folder):
        content = path.read_bytes()
        assert manifest["files"][path.name]["sha256"] == hashlib.sha256(content).hexdigest()
        assert manifest["files"][path.name]["bytes"] == len(content)
    assert bundles.digest(folder) == hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()


def test_no_pickle_anywhere(folder: Path, wide_folder: Path) -> None:
    """No file is one, and no array in one holds any."""
    for path in [*folder.iterdir(), *wide_folder.iterdir()]:
        content = path.read_bytes()
        assert not content.startswith(b"\x80")
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                assert all(arrays[name].dtype.kind in "biuf" for name in arrays.files)
        else:
            content.decode()
        with pytest.raises((ValueError, DeprecationWarning)):  # an opcode or an escape that is none
            list(pickletools.genops(content))


def test_no_lead_is_in_it(folder: Path, world: Any) -> None:
    """Nothing of any lead: its id, address or telephone number."""
    everything = b"".join(path.read_bytes() for path in folder.iterdir() if path.suffix != ".npz").decode()
    for name in ("lead_id", "email", "phone"):
        values = [value for value in world.leads[name].to_pylist() if value]
        assert len(values) > 400
        assert not any(value in everything for value in values)


# ------------------------------------------------------------------------------------------ what is harmed
def test_every_altered_byte_is_refused(copy: Path) -> None:
    rng = np.random.default_rng(5)
    for path in files_of(copy):
        content = path.read_bytes()
        for place in {0, len(content) - 1, *rng.integers(0, len(content), 25).tolist()}:
            altered = bytearray(content)
            altered[place] ^= int(rng.integers(1, 256))
            path.write_bytes(bytes(altered))
            assert "altered content" in refused(copy)
        path.write_bytes(content)
    load(copy)


def test_every_altered_byte_of_the_manifest_is_refused_by_its_digest(copy: Path) -> None:
    rng, path, kept = np.random.default_rng(6), copy / "manifest.json", bundles.digest(copy)
    content = path.read_bytes()
    load(copy, manifest_sha256=kept.upper())
    for place in rng.integers(0, len(content), 40).tolist():
        altered = bytearray(content)
        altered[place] ^= int(rng.integers(1, 256))
        path.write_bytes(bytes(altered))
        assert "digest was given" in refused(copy, manifest_sha256=kept)


def test_an_altered_manifest_is_refused_or_harmless(copy: Path) -> None:
    """Without a digest kept elsewhere a figure in it may change; nothing may crash."""
    rng, path = np.random.default_rng(7), copy / "manifest.json"
    content = path.read_bytes()
    outcomes = set()
    for place in rng.integers(0, len(content), 60).tolist():
        altered = bytearray(content)
        altered[place] = int(rng.choice(list(b'0{}[]",:x\xff')))
        path.write_bytes(bytes(altered))
        try:
            load(copy)
            outcomes.add("loaded")
        except ModelError as error:
            assert "\n" not in str(error)
            outcomes.add("refused")
    assert "refused" in outcomes


@pytest.mark.parametrize("cut", [0, 1, 0.5, -1])
def test_a_truncated_file_is_refused(copy: Path, cut: float) -> None:
    for path in [*files_of(copy), copy / "manifest.json"]:
        content = path.read_bytes()
        path.write_bytes(content[: int(cut if cut in (0, 1, -1) else cut * len(content))])
        if cut == -1 and path.name == "manifest.json":  # the newline at its end says nothing
            load(copy)
        else:
            refused(copy)
        path.write_bytes(content)


def test_a_file_that_grew_is_refused(copy: Path) -> None:
    for path in files_of(copy):
        content = path.read_bytes()
        path.write_bytes(content + b"\0")
        assert "of the size that the manifest says" in refused(copy)
        path.write_bytes(content)


def test_a_missing_file_is_refused(copy: Path) -> None:
    for path in files_of(copy):
        content = path.read_bytes()
        path.unlink()
        assert f"'{path.name}' missing" in refused(copy)
        path.write_bytes(content)


def test_an_added_file_is_refused(copy: Path) -> None:
    (copy / "notes.txt").write_text("mine")
    assert "'notes.txt' added" in refused(copy)
    (copy / "notes.txt").unlink()
    (copy / "folder").mkdir()
    assert "'folder' added" in refused(copy)


def test_a_renamed_file_is_refused(copy: Path) -> None:
    one = files_of(copy)[-1]
    one.rename(copy / "other.json")
    assert "missing" in refused(copy) or "added" in refused(copy)


def test_links_and_folders_are_refused(copy: Path, tmp_path: Path) -> None:
    for path in [*files_of(copy), copy / "manifest.json"]:
        aside = tmp_path / path.name
        path.rename(aside)
        path.symlink_to(aside)
        assert "link" in refused(copy)
        path.unlink()
        if path.name != "manifest.json":
            path.mkdir()
            assert "link or folder" in refused(copy)
            path.rmdir()
        aside.rename(path)
    (tmp_path / "current").symlink_to(copy)  # a link to the whole directory is how teams name the newest
    load(tmp_path / "current")


def test_swapped_files_are_refused(copy: Path) -> None:
    one, other = copy / "calibration.json", copy / "policy.json"
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)
    refused(copy)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("nothing", b""),
        ("no JSON", b"\x80\x04pickled"),
        ("a list", b"[]"),
        ("a number", b"3"),
        ("deep", b"[" * 20_000),
        ("no files", b'{"format": 1}'),
        ("files of no kind", b'{"format": 1, "files": 3}'),
        ("files as a list", b'{"format": 1, "files": [[1, 2], ["a", 3]]}'),
        ("a path upwards", b'{"format": 1, "files": {"../secret": {"bytes": 1, "sha256": ""}}}'),
        ("an absolute path", b'{"format": 1, "files": {"/etc/passwd": {"bytes": 1, "sha256": ""}}}'),
        ("no format", b'{"files": {}}'),
        ("half a format", b'{"format": "one", "files": {}}'),
        ("an endless number", b'{"format": 1' + b"0" * 9_000 + b', "files": {}}'),
    ],
)
def test_a_manifest_that_is_none(copy: Path, name: str, content: bytes) -> None:
    (copy / "manifest.json").write_bytes(content)
    refused(copy)


def test_a_newer_format_says_what_to_do(copy: Path) -> None:
    signed(copy, lambda manifest: manifest.update(format=2))
    line = refused(copy)
    assert "expected a model of format 1; found format 2; update leadscore" in line


def test_a_manifest_that_is_too_large_is_not_read(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (copy / "manifest.json").open("ab") as file:
        file.truncate(17 * 2**20)  # sparse: takes no room
    read: list[Path] = []
    monkeypatch.setattr(Path, "read_bytes", lambda path: read.append(path) or b"")
    assert "16 MiB" in refused(copy)
    assert not read


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    assert "nothing there" in refused(tmp_path / "none")
    assert "no manifest.json in it" in refused(tmp_path)
    (tmp_path / "file").write_text("")
    assert "nothing there" in refused(tmp_path / "file")


# ------------------------------------------------- what is harmed and signed again, by hand or out of malice
def test_values_that_no_model_has_are_refused_even_when_signed(copy: Path) -> None:
    values: dict[str, tuple[Any, ...]] = {
        "name": (None, 3, ["a"]),
        "contract": (None, [], {}, {"lead_id": 3}, {"lead_id": "lead_id", "mystery": 1}),
        "features": (None, [], {}, [3], [{}], [{"aggregate": "count", "event": None, "windw": 3}]),
        "scorer": (None, "pickle", 3, ["points"]),
        "scale": (None, {}, {"reference_score": "x"}, []),
        "cuts": (None, {}, {"fit": [3, 2, 1], "engagement": []}),
        "typical": (None, 3, []),
        "horizon": ("30", [], {}),
        "facts": (None, 3),
        "probe": (None, {}, [], {"rows": "x"}, {"rows": [[1]], "margin": [0.0], "probability": [0.5]}),
    }
    before = (copy / "manifest.json").read_bytes()
    for name, wrongs in values.items():
        for wrong in wrongs:
            signed(copy, lambda manifest, name=name, wrong=wrong: manifest.update({name: wrong}))
            refused(copy)
            (copy / "manifest.json").write_bytes(before)
        signed(copy, lambda manifest, name=name: manifest.pop(name))
        refused(copy)
        (copy / "manifest.json").write_bytes(before)


def test_files_altered_and_signed_again_are_refused_or_score(copy: Path, world: Any, as_of: int) -> None:
    """The digests fit, so the shapes, the ranges and the probe rows are all that stands in the way."""
    rng = np.random.default_rng(8)
    leads, events = world.leads.slice(0, 20), world.events.slice(0, 200)
    before = {path: path.read_bytes() for path in copy.iterdir()}
    outcomes = {"loaded": 0, "refused": 0}
    for path in files_of(copy):
        content = before[path]
        for _ in range(12):
            altered = bytearray(content)
            place = int(rng.integers(0, len(content)))
            length = int(rng.integers(0, 9))
            altered[place : place + length] = rng.bytes(int(rng.integers(0, 9)))
            path.write_bytes(bytes(altered))
            signed(copy)
            try:
                model = load(copy)
            except ModelError as error:
                assert "\n" not in str(error)
                outcomes["refused"] += 1
            else:
                frame = model.score(leads, events, as_of)
                assert frame["probability"].between(0, 1).all()
                outcomes["loaded"] += 1
        path.write_bytes(content)
        (copy / "manifest.json").write_bytes(before[copy / "manifest.json"])
    assert outcomes["refused"] > 20


def test_a_scorer_that_is_not_the_one_of_the_probe_rows_is_refused(copy: Path) -> None:
    path = copy / "calibration.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps(values | {"intercept": values["intercept"] + 0.001}))
    signed(copy)
    assert "probe rows" in refused(copy)


# ------------------------------------------------------------------------------------------------- saving
def test_saving_again_replaces_the_model_and_leaves_nothing_beside(
    kind: str, bundle_of: dict[str, Bundle], tmp_path: Path
) -> None:
    place = tmp_path / "models" / "mine"
    for name, bundle in bundle_of.items():
        assert bundles.save(bundle, place) == place
        assert bundles.load(place).scorer.kind == bundle.scorer.kind, name
        assert [path.name for path in place.parent.iterdir()] == ["mine"]


def test_saving_through_a_link_keeps_the_link(bundle_of: dict[str, Bundle], tmp_path: Path) -> None:
    real = bundles.save(bundle_of["points"], tmp_path / "real")
    (tmp_path / "link").symlink_to(real)
    bundles.save(bundle_of["logistic"], tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert bundles.load(real).scorer.kind == "sum"  # of points and a linear table
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "real"]


def test_a_damaged_model_may_be_replaced(bundle_of: dict[str, Bundle], tmp_path: Path) -> None:
    place = bundles.save(bundle_of["points"], tmp_path / "model")
    (place / "points.yaml").write_text("gone")
    (place / "policy.json").unlink()
    bundles.load(bundles.save(bundle_of["boosted"], place))


@pytest.mark.parametrize("foreign", ["a file", "a folder", "a web page", "a model with notes", "broken"])
def test_what_is_no_model_is_never_replaced(
    bundle_of: dict[str, Bundle], tmp_path: Path, foreign: str
) -> None:
    place = tmp_path / "mine"
    if foreign == "a file":
        place.write_text("work of years")
    else:
        if foreign == "a model with notes":
            bundles.save(bundle_of["points"], place)
        place.mkdir(exist_ok=True)
        (place / "thesis.txt").write_text("work of years")
        if foreign == "a web page":
            (place / "manifest.json").write_text('{"name": "my app", "icons": []}')
        if foreign == "broken":
            (place / "manifest.json").write_text("{")
    before = {path: path.read_bytes() for path in [place, *place.rglob("*")] if path.is_file()}
    with pytest.raises(UsageError, match="choose another place"):
        bundles.save(bundle_of["points"], place)
    assert {path: path.read_bytes() for path in [place, *place.rglob("*")] if path.is_file()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("place", [".", "..", "/", "file/model", "file/deep/model"])
def test_places_where_no_folder_can_be(
    bundle_of: dict[str, Bundle], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="choose another"):
        bundles.save(bundle_of["points"], place)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("failing", ["open", "rename", "chmod"])
@pytest.mark.parametrize("there", [False, True])
def test_nothing_is_half_written_after_a_failure(
    bundle_of: dict[str, Bundle],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    failing: str,
    there: bool,
) -> None:
    place = tmp_path / "mine"
    if there:
        bundles.save(bundle_of["points"], place)
        before = bundles.digest(place)
    done = getattr(Path, failing)
    calls = []

    def fails(path: Path, *arguments: Any, **named: Any) -> Any:
        calls.append(path)
        # The disk is full at the third file; of renames, putting the new folder in place fails.
        if (failing == "open" and len(calls) == 3) or (
            failing != "open" and path.name.startswith(".mine.") and not path.name.endswith(".old")
        ):
            raise OSError(28, "No space left on device")
        return done(path, *arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(Path, failing, fails)
        with pytest.raises(UsageError, match="no space left on device"):
            bundles.save(bundle_of["boosted"], place)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"] * there
    if there:
        assert bundles.digest(place) == before
        bundles.load(place)


def test_values_that_json_cannot_hold_are_not_saved(bundle_of: dict[str, Bundle], tmp_path: Path) -> None:
    odd = replace(bundle_of["points"], facts={"loss": float("nan")})
    with pytest.raises(ValueError, match="JSON"):
        bundles.save(odd, tmp_path / "mine")
    assert not list(tmp_path.iterdir())
