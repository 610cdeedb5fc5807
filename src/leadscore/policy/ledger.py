"""Published policies: an append-only, hash-chained log beside a model's directory.

`models/demo` has its log in `models/demo.policy/log.jsonl`, so that the model's own digests stay valid.
Each line is an entry as canonical JSON. It carries the SHA-256 of the line before it (the first: that of
the model's `manifest.json`) and, last, its own; the last line of the file seals all lines before it, so
that a log cut short is noticed too. A log is written whole beside its place, flushed to the disk and
renamed, under a lock: a reader sees the old log or the new one.

The chain shows accidents and edits by hand. Somebody who can write to the folder can also write a new
chain, or remove the log, after which the policy that the model was born with is in force again: against
that, keep the last digest (`history(...)[-1].sha256`) somewhere else.
"""

import contextlib
import hashlib
import itertools
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from leadscore.errors import LeadScoreError, ModelError, UsageError, explain, shown
from leadscore.policy.policy import Policy, differences

LOG: Final = "log.jsonl"
_LIMIT: Final = 64 * 2**20
_KEYS: Final = frozenset({"at", "author", "policy", "previous", "reason", "restores", "sha256"})
_RESTORE: Final = "restore the log from a backup; nothing is in force until then"


@dataclass(frozen=True, slots=True)
class Entry:
    """One published revision.

    Parameters
    ----------
    policy : Policy
        With its revision.
    author, reason : str
    at : str
        When, in UTC: "2026-05-04T09:30:00+00:00".
    restores : int or None
        The revision whose policy this one brings back; None for a new policy.
    previous : str
        SHA-256 of the entry before, in hex; of the model's manifest for the first.
    sha256 : str
        Of this entry without this field, in hex.
    """

    policy: Policy
    author: str
    reason: str
    at: str
    restores: int | None
    previous: str
    sha256: str

    def to_dict(self) -> dict[str, Any]:
        """Give the entry as plain values for JSON."""
        return {name: getattr(self, name) for name in _KEYS} | {"policy": self.policy.to_dict()}


def in_force(directory: str | Path, born: Policy) -> Policy:
    """Give the policy in force: the last published revision, or the one the model was born with.

    Parameters
    ----------
    directory : path
        The model's.
    born : Policy
        The policy in the model.

    Returns
    -------
    Policy

    Raises
    ------
    ModelError
        The log is altered, cut short, or belongs to another model.
    """
    entries = history(directory, born)
    return entries[-1].policy if entries else born


def history(directory: str | Path, born: Policy) -> tuple[Entry, ...]:
    """Give all published revisions, oldest first, once the whole chain is verified; as `in_force`.

    Returns
    -------
    tuple of Entry
        Empty when nothing was published.
    """
    path = _folder(directory) / LOG
    try:
        size = path.stat().st_size
        content = path.read_bytes() if size <= _LIMIT else b""
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise ModelError(explain(f"a readable {LOG}", _said(error), "mend its permissions")) from None
    return _verified(content, born, _manifest(directory))


def publish(
    directory: str | Path,
    draft: Policy,
    *,
    expected: int,
    born: Policy,
    author: str,
    reason: str,
    at: datetime,
    restores: int | None = None,
) -> Entry:
    """Put a policy in force as a new revision, if nobody else did so in the meantime.

    Parameters
    ----------
    directory : path
        The model's.
    draft : Policy
        Its own revision does not matter: it gets the next one.
    expected : int
        The revision in force when the draft was made.
    born : Policy
        The policy in the model.
    author, reason : str
        Kept in the log.
    at : datetime
        Now, with a time zone.
    restores : int, optional
        For the record: the revision whose policy this is; `undo` says it.

    Returns
    -------
    Entry
        On the disk when this returns.

    Raises
    ------
    UsageError
        Another revision is in force by now (the message names the other's change), or the folder cannot
        be written to: then nothing has changed. Or the disk did not confirm a revision that is in force.
    ModelError
        The log is altered, cut short, or belongs to another model.
    """
    for name, text in (("an author", author), ("a reason", reason)):
        if not isinstance(text, str) or not text.strip():
            raise UsageError(explain(name, "none", "say who publishes and why"))
    if at.tzinfo is None:
        raise UsageError(explain("a time with its zone", shown(at), "give it in UTC"))
    folder = _folder(directory)
    manifest = _manifest(directory)
    try:
        folder.mkdir(exist_ok=True)
        _flush_folder(folder.parent)
        with _locked(folder):
            entries = history(directory, born)
            now = entries[-1].policy if entries else born
            if now.revision != expected:
                raise _stale(entries, expected, born)
            fields = {
                "policy": replace(draft, revision=now.revision + 1).to_dict(),
                "author": author,
                "reason": reason,
                "at": at.astimezone(UTC).isoformat(timespec="seconds"),
                "restores": restores,
                "previous": entries[-1].sha256 if entries else manifest,
            }
            entry = _entry({**fields, "sha256": _digest(_canonical(fields))})
            _write(folder, (*entries, entry))
    except OSError as error:
        do = "mend that and publish again; nothing has changed"
        raise UsageError(explain(f"to write in {shown(folder.name)!r}", _said(error), do)) from None
    try:
        _flush_folder(folder)
    except OSError as error:
        do = "it is in force, but a power cut may lose it: look after the disk"
        wanted = f"the disk to confirm revision {entry.policy.revision}"
        raise UsageError(explain(wanted, _said(error), do)) from None
    return entry


def undo(
    directory: str | Path,
    *,
    expected: int,
    born: Policy,
    author: str,
    reason: str,
    at: datetime,
    to: int | None = None,
) -> Entry:
    """Bring an earlier policy back, as a new revision; nothing is erased.

    Parameters
    ----------
    directory, expected, born, author, reason, at
        As in `publish`.
    to : int, optional
        The revision to bring back; by default the one before the revision in force.

    Returns
    -------
    Entry

    Raises
    ------
    UsageError
        There is no such revision, or another one is in force by now.
    ModelError
        The log is altered, cut short, or belongs to another model.
    """
    known = {policy.revision: policy for policy in (born, *(e.policy for e in history(directory, born)))}
    wanted = expected - 1 if to is None else to
    if wanted not in known:
        found = f"revisions {born.revision} to {max(known)}"
        raise UsageError(explain(f"revision {wanted} to go back to", found, "name one of those"))
    return publish(
        directory,
        known[wanted],
        expected=expected,
        born=born,
        author=author,
        reason=reason,
        at=at,
        restores=wanted,
    )


def set_aside(directory: str | Path) -> Path | None:
    """Put the log of a model that was replaced under another name, so that the new model starts its own.

    Parameters
    ----------
    directory : path
        Where the new model is by now.

    Returns
    -------
    Path or None
        Where the old log is kept; None where there is none, or it is this model's, or it does not read:
        such a log stays, for `history` to refuse.
    """
    folder = _folder(directory)
    try:
        with _locked(folder):
            model = json.loads((folder / LOG).read_bytes().splitlines()[0])["previous"]
            if not isinstance(model, str) or not model.isalnum() or model == _manifest(directory):
                return None
            kept = (folder / f"log.{model[:12]}.{number}.jsonl" for number in itertools.count(1))
            return (folder / LOG).rename(next(path for path in kept if not path.exists()))
    except (OSError, ValueError, IndexError, KeyError, TypeError, RecursionError):
        return None


def _folder(directory: str | Path) -> Path:
    path = Path(directory)
    return path.resolve().parent / f"{path.resolve().name}.policy"


def _manifest(directory: str | Path) -> str:
    """Give the digest that stands for the model: that of its manifest."""
    try:
        return hashlib.sha256((Path(directory) / "manifest.json").read_bytes()).hexdigest()
    except OSError as error:
        raise ModelError(
            explain("a manifest.json in the model's directory", _said(error), "name a saved model")
        ) from None


def _canonical(values: Mapping[str, Any]) -> bytes:
    """Write values in the one form that is hashed, so that any other byte in the log is an alteration."""
    return json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _seal(lines: bytes) -> bytes:
    return _canonical({"seal": _digest(lines)}) + b"\n"


def _verified(content: bytes, born: Policy, manifest: str) -> tuple[Entry, ...]:
    """Read a log whose every byte is as it was written, or refuse it."""
    lines = content.splitlines(keepends=True)
    body = b"".join(lines[:-1])
    if len(lines) < 2 or lines[-1] != _seal(body):
        raise _altered("its seal does not fit")
    entries: list[Entry] = []
    previous, revision = manifest, born.revision
    for number, line in enumerate(lines[:-1], start=1):
        try:
            values = json.loads(line)
            entry = _entry(values)
            canonical = _canonical(values) + b"\n"
            digest = _digest(_canonical({key: values[key] for key in values if key != "sha256"}))
        except (ValueError, TypeError, KeyError, RecursionError, LeadScoreError):
            raise _altered(f"line {number} is no entry") from None
        if entry.previous != previous and number == 1:
            found = "one that was published for another model"
            do = f"move {shown(LOG)} out of the .policy folder and publish anew"
            raise ModelError(explain("a log of this model's policies", found, do))
        if line != canonical or entry.sha256 != digest or entry.previous != previous:
            raise _altered(f"line {number} does not fit the chain")
        if entry.policy.revision != revision + 1:
            raise _altered(f"line {number} skips a revision")
        entries.append(entry)
        previous, revision = entry.sha256, entry.policy.revision
    return tuple(entries)


def _entry(values: object) -> Entry:
    """Read one entry; ValueError, TypeError or a LeadScoreError for anything else."""
    if not isinstance(values, dict) or set(values) != _KEYS:
        raise ValueError
    texts = (values[name] for name in ("author", "reason", "at", "previous", "sha256"))
    if not all(isinstance(text, str) for text in texts) or not isinstance(values["restores"], int | None):
        raise TypeError
    return Entry(**{**values, "policy": Policy.from_dict(values["policy"])})


def _altered(found: str) -> ModelError:
    return ModelError(explain(f"{LOG} of published policies as it was written", found, _RESTORE))


def _stale(entries: tuple[Entry, ...], expected: int, born: Policy) -> UsageError:
    """Say who changed what since the revision that was expected."""
    policies = {policy.revision: policy for policy in (born, *(entry.policy for entry in entries))}
    latest = max(policies)
    found = f"revision {latest}"
    if entries:
        found += f" by {shown(entries[-1].author)} at {entries[-1].at}"
    if expected in policies:
        changed = (
            ", ".join(differences(policies[expected], policies[latest])) or "the same thresholds and rules"
        )
        found += f": {changed}"
    return UsageError(explain(f"revision {expected} in force", found, "look at it and decide again"))


def _write(folder: Path, entries: tuple[Entry, ...]) -> None:
    """Write the log beside its place, flush, rename."""
    body = b"".join(_canonical(entry.to_dict()) + b"\n" for entry in entries)
    beside = folder / f"{LOG}.new"  # one name, under the lock: what a crash leaves is overwritten next time
    try:
        with beside.open("wb") as file:
            file.write(body + _seal(body))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(folder / LOG)
    except OSError:
        beside.unlink(missing_ok=True)
        raise


def _said(error: OSError) -> str:
    return error.strerror or "an error"


def _flush_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder for one writer; the system releases it when a process dies."""
    import fcntl

    with (folder / "lock").open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
