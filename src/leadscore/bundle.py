"""A trained model as a directory: what is in it, how it is saved, verified and loaded. No pickle."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np

import leadscore
from leadscore.data.tables import Contract
from leadscore.errors import DataError, LeadScoreError, ModelError, UsageError, explain, shown
from leadscore.explain.card import GradeCuts
from leadscore.explain.phrases import USUAL, Phrases
from leadscore.features.declare import Feature, from_dict, to_dict
from leadscore.files import pack_arrays, require_writable, unpack_arrays, unwritable
from leadscore.models.calibration import Scale, Sigmoid, probability
from leadscore.models.matrix import Column
from leadscore.models.novelty import Familiar
from leadscore.models.saved import read_scorer
from leadscore.models.scorer import Scorer
from leadscore.models.uncertainty import Interval
from leadscore.policy.backtest import Backtest
from leadscore.policy.policy import Policy
from leadscore.policy.staging import require_fit

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
_MANIFEST_LIMIT: Final = 16 * 2**20
_FILE_LIMIT: Final = 2**30
_BACKTEST: Final = ("probability", "y", "week", "points")
_COLUMN: Final = "column_"
_RESTORE: Final = "restore the directory from where it was trained, or train again"


@dataclass(frozen=True)
class Bundle:
    """Everything a score is made of: features, scorer, calibration, scale, policy, and where they come from.

    Parameters
    ----------
    name : str
        The project's.
    contract : Contract
        How the project's own tables read.
    features : tuple of Feature
        Declarations, not code; their names are the columns of X.
    scorer : Scorer
        Margins and contributions from X.
    calibration : Sigmoid
    scale : Scale
    policy : Policy
        The policy the model was born with.
    cuts : GradeCuts
    typical : mapping of str to float or str or None
        The middle value of each column of X in training, for comparisons in words.
    horizon : float or None
        Days within which a lead converts, or not; None where outcomes carry no time.
    backtest : Backtest or None
        Predictions for leads that the model which made them had not seen; thresholds are tuned on them. None
        for points that were put to use before any outcome was known.
    calibrated : bool
        Whether the chances held on those leads.
    interval : Interval or None
        How sure a probability is; None where too few outcomes were known.
    familiar : Familiar or None
        What the leads of training were like; None where there were too few.
    facts : mapping
        The training window, sizes, metrics, exclusions and their reasons: plain JSON values.
    phrases : Phrases
        How the project speaks of its fields and events.
    """

    name: str
    contract: Contract = field(repr=False)
    features: tuple[Feature, ...] = field(repr=False)
    scorer: Scorer = field(repr=False)
    calibration: Sigmoid
    scale: Scale
    policy: Policy
    cuts: GradeCuts
    typical: Mapping[str, float | str | None] = field(repr=False)
    horizon: float | None
    backtest: Backtest | None = field(repr=False)
    calibrated: bool
    interval: Interval | None = field(repr=False)
    familiar: Familiar | None = field(repr=False)
    facts: Mapping[str, Any] = field(repr=False)
    phrases: Phrases = field(default=USUAL, repr=False)

    @property
    def past(self) -> Backtest:
        """The backtest, or a DataError where there is none."""
        if self.backtest is None:
            do = "train again once outcomes are known"
            raise DataError(explain("leads whose outcome was known when the model was made", "none", do))
        return self.backtest

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """The columns of X that the features make, in their order."""
        return tuple(Column(feature.name, feature.categories) for feature in self.features)


def save(bundle: Bundle, folder: str | Path) -> Path:
    """Write a bundle as a directory, beside its place first and then renamed into it.

    Parameters
    ----------
    bundle : Bundle
    folder : path
        A new directory, or one that holds a saved model, which is replaced.

    Returns
    -------
    Path
        The directory.

    Raises
    ------
    UsageError
        Something else is in the way.
    """
    target = require_place(folder)
    files = _files(bundle)
    files[MANIFEST] = _json(_manifest(bundle, files))
    try:
        place = target.resolve()  # a link stays a link
        place.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent))
        try:
            for name, content in files.items():
                with (beside / name).open("wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
            beside.chmod(0o755)
            _swap(beside, place)
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)
            raise
    except OSError as error:
        raise unwritable(target, error) from error
    return target


def _swap(beside: Path, target: Path) -> None:
    """Put one directory in the place of another; if that fails, the other is back where it was."""
    if not target.exists():
        beside.rename(target)
        return
    old = beside.with_name(f"{beside.name}.old")
    target.rename(old)
    try:
        beside.rename(target)
    except BaseException:
        old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def require_place(folder: str | Path) -> Path:
    """Refuse, before any work is done, to save a model over something that is none.

    Raises
    ------
    UsageError
        A file or another folder is in the way, or it could not be written there.
    """
    target = Path(folder)
    found = None
    if target.name in ("", ".."):
        found = "a path that does not end in a name"
    elif target.is_dir():
        found = "a folder that holds something else" if _foreign(target) else None
    elif target.exists():
        found = "a file"
    else:
        require_writable(target)
    if found is not None:
        expected = f"a new folder or a saved model at {shown(target, 300)}"
        raise UsageError(explain(expected, found, "choose another place"))
    return target


def _foreign(folder: Path) -> bool:
    """Whether a folder holds anything that is no part of a saved model, and would be lost with it."""
    present = {entry.name for entry in folder.iterdir()}
    try:
        listed = set(json.loads((folder / MANIFEST).read_bytes())["files"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        listed = set()
    return bool(present - {*listed, MANIFEST}) if listed else bool(present)


def load(folder: str | Path, *, manifest_sha256: str | None = None) -> Bundle:
    """Read a saved model, verifying all of it before any of it is used.

    The order: the manifest's size, the manifest, every file's size and digest, no further files, links
    or folders; then the numbers' shapes, types and ranges; then the probe rows are scored again.

    Parameters
    ----------
    folder : path
    manifest_sha256 : str, optional
        The manifest's digest as kept elsewhere. The digests inside the directory stop accidents;
        this one stops somebody who can write to the directory.

    Returns
    -------
    Bundle

    Raises
    ------
    ModelError
        Something is missing, cut, altered, added, or from a newer format.
    """
    where = shown(folder, 300)
    try:
        manifest, files = _verified(Path(folder), manifest_sha256)
    except OSError as error:
        found = f"one that cannot be read ({error.strerror})"
        raise ModelError(explain(f"a saved model in {where}", found, _RESTORE)) from error
    try:
        bundle = _read(manifest, files)
        _probe(bundle, manifest["probe"])
    except LeadScoreError as error:
        raise ModelError(f"the model in {where} does not load: {error}") from error
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        found = f"one that does not read ({type(error).__name__})"
        raise ModelError(explain(f"a saved model in {where}", found, _RESTORE)) from error
    return bundle


def digest(folder: str | Path) -> str:
    """Give the SHA-256 of a saved model's manifest, which names the digest of everything else."""
    return hashlib.sha256((Path(folder) / MANIFEST).read_bytes()).hexdigest()


def _files(bundle: Bundle) -> dict[str, bytes]:
    return {
        **bundle.scorer.to_files(),
        "calibration.json": _json(bundle.calibration.to_dict()),
        "policy.json": _json(bundle.policy.to_dict()),
        **({} if bundle.familiar is None else bundle.familiar.to_files()),
        **({} if bundle.backtest is None else {"backtest.npz": _packed(bundle.backtest)}),
    }


def _packed(backtest: Backtest) -> bytes:
    arrays = {name: getattr(backtest, name) for name in _BACKTEST}
    if backtest.M is not None:
        for place, (column, values) in enumerate(zip(backtest.columns, backtest.M.T, strict=True)):
            kept = np.float64 if column.levels is None else np.float32  # holds the places of levels exactly
            arrays[f"{_COLUMN}{place}"] = values.astype(kept)
    return pack_arrays({name: values for name, values in arrays.items() if values is not None})


def _unpacked(packed: bytes, columns: list[Any]) -> Backtest:
    arrays = unpack_arrays(packed)
    M = [arrays.pop(f"{_COLUMN}{place}") for place in range(len(columns))]
    return Backtest(
        **arrays,
        M=np.column_stack(M) if M else None,
        columns=tuple(Column.from_dict(column) for column in columns),
    )


def _manifest(bundle: Bundle, files: Mapping[str, bytes]) -> dict[str, Any]:
    import pandas as pd
    import pyarrow as pa

    return {
        "format": FORMAT,
        "libraries": {
            "leadscore": leadscore.__version__,
            "numpy": np.__version__,
            "pandas": pd.__version__,
            "pyarrow": pa.__version__,
        },
        "name": bundle.name,
        "contract": bundle.contract.to_dict(),
        "features": [to_dict(feature) for feature in bundle.features],
        "scorer": bundle.scorer.kind,
        "scale": bundle.scale.to_dict(),
        "cuts": bundle.cuts.to_dict(),
        "typical": dict(bundle.typical),
        "horizon": bundle.horizon,
        "calibrated": bundle.calibrated,
        "interval": None if bundle.interval is None else bundle.interval.to_dict(),
        "wording": bundle.phrases.to_dict(),
        "facts": dict(bundle.facts),
        "backtest": [column.to_dict() for column in bundle.backtest.columns] if bundle.backtest else [],
        "probe": _probe_rows(bundle),
        "files": {
            name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in sorted(files.items())
        },
    }


def _read(manifest: Mapping[str, Any], files: Mapping[str, bytes]) -> Bundle:
    bundle = Bundle(
        name=_checked(manifest, "name", str),
        contract=Contract.from_dict(manifest["contract"]),
        features=tuple(from_dict(values) for values in manifest["features"]),
        scorer=read_scorer(manifest["scorer"], files),
        calibration=Sigmoid.from_dict(json.loads(files["calibration.json"])),
        scale=Scale.from_dict(manifest["scale"]),
        policy=Policy.from_dict(json.loads(files["policy.json"])),
        cuts=GradeCuts.from_dict(manifest["cuts"]),
        typical=_checked(manifest, "typical", dict),
        horizon=_checked(manifest, "horizon", float | None),
        backtest=_unpacked(files["backtest.npz"], manifest.get("backtest", []))
        if "backtest.npz" in files
        else None,
        calibrated=_checked(manifest, "calibrated", bool),
        interval=None if manifest["interval"] is None else Interval.from_dict(manifest["interval"]),
        familiar=Familiar.from_files(files) if "familiar.npz" in files else None,
        facts=_checked(manifest, "facts", dict),
        phrases=Phrases.from_dict(manifest["wording"]) if "wording" in manifest else USUAL,
    )
    if not set(bundle.scorer.columns) <= set(bundle.columns):
        raise ModelError(explain("features that make the scorer's columns", "other ones", _RESTORE))
    if bundle.familiar is not None and bundle.familiar.columns != bundle.scorer.columns:
        raise ModelError(explain("training leads of the scorer's columns", "other ones", _RESTORE))
    require_fit(bundle.policy, bundle.columns)
    return bundle


def _checked(manifest: Mapping[str, Any], name: str, kind: Any) -> Any:
    if not isinstance(manifest[name], kind):
        raise TypeError(name)
    return manifest[name]


def _verified(folder: Path, manifest_sha256: str | None) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Read the manifest and every file it names, refusing whatever is not exactly as it says."""
    path = folder / MANIFEST
    if path.is_symlink():
        raise ModelError(explain(f"an ordinary file {shown(path, 300)}", "a link", _RESTORE))
    if not path.is_file():
        found = "no manifest.json in it" if folder.is_dir() else "nothing there"
        raise ModelError(
            explain(f"a saved model in {shown(folder, 300)}", found, "train one, or correct the path")
        )
    if path.stat().st_size > _MANIFEST_LIMIT:
        raise ModelError(explain("a manifest.json of at most 16 MiB", "a larger one", _RESTORE))
    raw = path.read_bytes()
    if manifest_sha256 is not None and hashlib.sha256(raw).hexdigest() != manifest_sha256.lower():
        raise ModelError(explain("the manifest whose digest was given", "another one", _RESTORE))
    try:
        manifest = json.loads(raw)
        version, listed = manifest["format"], {**manifest["files"]}
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ModelError(explain("a manifest.json that reads", "a damaged one", _RESTORE)) from None
    if version != FORMAT:
        found = f"format {shown(version)}"
        do = "update leadscore" if isinstance(version, int) and version > FORMAT else _RESTORE
        raise ModelError(explain(f"a model of format {FORMAT}", found, do))
    present = {entry.name for entry in folder.iterdir()}
    for name in sorted(present ^ {*listed, MANIFEST}):
        found = f"{shown(name)!r} {'missing' if name in listed else 'added'}"
        raise ModelError(explain("the files that the manifest lists", found, _RESTORE))
    return manifest, {name: _checked_file(folder / name, expected) for name, expected in listed.items()}


def _checked_file(path: Path, expected: Any) -> bytes:
    if path.is_symlink() or not path.is_file():
        raise ModelError(explain(f"an ordinary file {shown(path, 300)}", "a link or folder", _RESTORE))
    size = path.stat().st_size
    if size > _FILE_LIMIT or not isinstance(expected, dict) or size != expected.get("bytes"):
        wanted = f"{shown(path, 300)} of the size that the manifest says"
        raise ModelError(explain(wanted, f"{size:,} bytes", _RESTORE))
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != expected.get("sha256"):
        raise ModelError(explain(f"{shown(path, 300)} as it was saved", "altered content", _RESTORE))
    return content


def _probe_rows(bundle: Bundle) -> dict[str, Any]:
    """Make a few synthetic rows, no lead's, and keep what they score: the loaded model must agree."""
    rng = np.random.default_rng(0)
    columns = bundle.scorer.columns
    rows = np.empty((8, len(columns)), order="F")
    for j, column in enumerate(columns):
        if column.levels is None:
            typical = bundle.typical.get(column.name)
            centre = float(typical) if isinstance(typical, int | float) else 1.0
            rows[:, j] = centre + np.round(rng.normal(size=8) * (1 + abs(centre)), 3)
        else:
            rows[:, j] = rng.integers(0, max(1, len(column.levels)), size=8)
    rows[rng.random(rows.shape) < 0.15] = np.nan
    margin = bundle.scorer.margin(rows)
    return {
        "rows": [[None if np.isnan(value) else float(value) for value in row] for row in rows],
        "margin": margin.tolist(),
        "probability": probability(bundle.calibration.log_odds(margin)).tolist(),
    }


def _probe(bundle: Bundle, probe: Mapping[str, Any]) -> None:
    rows = np.array(probe["rows"], dtype=np.float64, order="F").reshape(-1, len(bundle.scorer.columns))
    margin = bundle.scorer.margin(rows)
    again = {"margin": margin, "probability": probability(bundle.calibration.log_odds(margin))}
    for what, values in again.items():
        # Another machine's exp and log may differ in the last bits; a wrong model differs in the first.
        if not np.allclose(values, np.array(probe[what]), rtol=1e-9, atol=1e-9):
            raise ModelError(explain(f"the {what} that the probe rows had at training", "another", _RESTORE))


def _json(values: Any) -> bytes:
    return (json.dumps(values, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()
