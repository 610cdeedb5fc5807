"""Published policies: an append-only, hash-chained log (chain.py) beside a model's directory.

`models/demo` has its log in `models/demo.policy/log.jsonl`, so that the model's own digests stay valid.
Whoever reads or publishes verifies all of it.

Publishing never writes into the log. Under a lock it writes the old lines and the new one to
`log.jsonl.new`, flushes that to the disk, renames it to `log.jsonl` and flushes the folder: at every moment
`log.jsonl` is the whole old log or the whole new one, and a revision is on the disk before it is
acknowledged. What a writer that was killed left in `log.jsonl.new` was never in force; the next one who
reads or publishes removes it. The file `lock` also names the model once there is a log, so that a log that
is gone is not taken for one that never was.

The chain shows accidents and edits by hand. Somebody who can write to the folder can also write a new
chain, put an old log back, or remove the folder: against that, keep the last digest
(`history(...)[-1].sha256`) somewhere else and give it to `in_force`.
"""

import contextlib
import hashlib
import itertools
import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import Any, Final

from leadscore.errors import LeadScoreError, ModelError, UsageError, explain, shown
from leadscore.policy.chain import LOG, RESTORE, Entry, Log, altered, canonical, verified
from leadscore.policy.policy import Policy

__all__ = ["LOG", "Entry", "history", "in_force", "publish", "set_aside", "undo"]

_BESIDE: Final = f"{LOG}.new"
_LOCK: Final = "lock"
_LIMIT: Final = 64 * 2**20
_TEXT_LIMIT: Final = 10_000
_EFFECT_LIMIT: Final = 64 * 2**10


def in_force(directory: str | Path, born: Policy, *, sha256: str | None = None) -> Policy:
    """Give the policy in force: the last published revision, or the one the model was born with.

    Parameters
    ----------
    directory : path
        The model's.
    born : Policy
        The policy in the model.
    sha256 : str, optional
        The digest of any entry, as kept elsewhere: the log must still hold that entry. The chain inside the
        log stops accidents; this stops somebody who can write to the folder from changing what was
        published up to that entry.

    Returns
    -------
    Policy

    Raises
    ------
    ModelError
        The log is altered, cut short, gone, or belongs to another model.
    """
    log = _read(directory, born, sha256)
    return log.policy(log.latest)


def history(directory: str | Path, born: Policy, *, sha256: str | None = None) -> tuple[Entry, ...]:
    """Give all published revisions, oldest first, once the whole chain is verified; as `in_force`.

    Returns
    -------
    tuple of Entry
        Empty when nothing was published.
    """
    log = _read(directory, born, sha256)
    return tuple(log.entry(revision) for revision in range(born.revision + 1, log.latest + 1))


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
    effect: Mapping[str, Any] | None = None,
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
    effect : mapping, optional
        For the record: what is expected of it, as plain values for JSON of at most 64 KB; a preview's.

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
        The log is altered, cut short, gone, or belongs to another model.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> born, draft = Policy(mql=0.10, sales_ready=0.30), Policy(mql=0.12, sales_ready=0.30)
    >>> who = {"author": "Ada", "reason": "too many calls", "at": datetime(2026, 5, 4, tzinfo=UTC)}
    >>> with TemporaryDirectory() as place:
    ...     model = Path(place, "demo")
    ...     model.mkdir()
    ...     _ = (model / "manifest.json").write_text("{}")
    ...     entry = publish(model, draft, expected=1, born=born, **who)
    ...     now = in_force(model, born)
    >>> now.revision, now.mql, now == entry.policy
    (2, 0.12, True)
    """
    _require_words(author, reason)
    if at.tzinfo is None:
        raise UsageError(explain("a time with its zone", shown(at), "give it in UTC"))
    expectation = _plain(effect)
    folder = _folder(directory)
    _manifest(directory)
    try:
        folder.mkdir(exist_ok=True)
        with _locked(folder) as lock:
            log = _read(directory, born)
            if log.latest != expected:
                raise log.stale(expected)
            fields = {
                "policy": replace(draft, revision=log.latest + 1).to_dict(),
                "author": author,
                "reason": reason,
                "at": at.astimezone(UTC).isoformat(timespec="seconds"),
                "restores": restores,
                "effect": expectation,
            }
            longer = log.extended(fields)
            entry = longer.entry(longer.latest)
            _flush_folder(folder.parent)
            _write(folder, longer.sealed)
            _name_model(lock, log.model)
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
    effect: Mapping[str, Any] | None = None,
) -> Entry:
    """Bring an earlier policy back, as a new revision; nothing is erased.

    Parameters
    ----------
    directory, expected, born, author, reason, at, effect
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
        The log is altered, cut short, gone, or belongs to another model.
    """
    log = _read(directory, born)
    if log.latest != expected:
        raise log.stale(expected)
    wanted = expected - 1 if to is None else to
    if not born.revision <= wanted <= log.latest:
        found = f"revisions {born.revision} to {log.latest}"
        raise UsageError(explain(f"revision {wanted} to go back to", found, "name one of those"))
    return publish(
        directory,
        log.policy(wanted),
        expected=expected,
        born=born,
        author=author,
        reason=reason,
        at=at,
        restores=wanted,
        effect=effect,
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
        with _locked(folder) as lock:
            model = json.loads((folder / LOG).read_bytes().splitlines()[0])["previous"]
            if not isinstance(model, str) or not model.isalnum() or model == _manifest(directory):
                return None
            _name_model(lock, "")
            places = (folder / f"log.{model[:12]}.{number}.jsonl" for number in itertools.count(1))
            kept = (folder / LOG).rename(next(path for path in places if not path.exists()))
            with contextlib.suppress(OSError):
                _flush_folder(folder)
            return kept
    except (OSError, LeadScoreError, ValueError, IndexError, KeyError, TypeError, RecursionError):
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


def _require_words(author: str, reason: str) -> None:
    for name, text in (("an author", author), ("a reason", reason)):
        if not isinstance(text, str) or not text.strip():
            raise UsageError(explain(name, "none", "say who publishes and why"))
        if len(text) > _TEXT_LIMIT:
            wanted = f"{name} of at most {_TEXT_LIMIT:,} characters"
            raise UsageError(explain(wanted, f"{len(text):,}", "say it in fewer words"))


def _plain(effect: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Give an expected effect as JSON will hold it."""
    if effect is None:
        return None
    found = "something else"
    try:
        content = canonical(dict(effect))
        if len(content) <= _EFFECT_LIMIT:
            return dict(json.loads(content))
        found = f"{len(content):,} bytes"
    except (ValueError, TypeError, RecursionError):
        pass
    wanted = f"an effect as a mapping of texts and finite numbers, at most {_EFFECT_LIMIT:,} bytes as JSON"
    raise UsageError(explain(wanted, found, "give the figures of a preview"))


def _read(directory: str | Path, born: Policy, sha256: str | None = None) -> Log:
    """Read the log and verify all of it; there is none until something is published."""
    folder, manifest = _folder(directory), _manifest(directory)
    _sweep(folder)
    had_log = (
        _named_model(folder) == manifest.encode()
    )  # asked first: the first log may be put there just now
    try:
        log = verified(_content(folder / LOG), born, manifest)
    except FileNotFoundError:
        lost = (path for path in (folder, folder / LOG) if path.is_symlink() and not path.exists())
        if had_log or any(lost):
            raise altered("none") from None
        log = Log(born, manifest)
    except OSError as error:
        do = "mend that; nothing is in force until then"
        raise ModelError(explain(f"a readable {LOG}", _said(error), do)) from None
    if sha256 is not None and not log.holds(sha256):
        expected = f"{LOG} with the entry whose digest was given"
        raise ModelError(explain(expected, "one without it", RESTORE))
    return log


def _content(path: Path) -> bytes:
    size = path.stat().st_size
    if size > _LIMIT:
        raise altered(f"{size:,} bytes")
    return path.read_bytes()


def _write(folder: Path, content: bytes) -> None:
    """Write the log beside its place, flush, rename."""
    if len(content) > _LIMIT:
        found = f"{len(content):,} with this revision"
        do = "save the model under another name, where its log begins anew"
        raise UsageError(explain(f"a log of at most {_LIMIT:,} bytes", found, do))
    beside = folder / _BESIDE  # one name, under the lock
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(folder / LOG)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def _sweep(folder: Path) -> None:
    """Remove what a writer that was killed left, unless one is at work or the folder is only to be read."""
    with contextlib.suppress(OSError, UsageError):
        if (folder / _BESIDE).exists():
            with _locked(folder, wait=False):
                pass


def _name_model(lock: FileIO, manifest: str) -> None:
    """Keep in the lock which model has a log; where that fails, the next one who publishes does it."""
    with contextlib.suppress(OSError):
        lock.seek(0)
        if lock.read() != manifest.encode():
            lock.truncate(0)
            lock.write(manifest.encode())


def _named_model(folder: Path) -> bytes | None:
    try:
        return (folder / _LOCK).read_bytes()
    except OSError:
        return None


def _said(error: OSError) -> str:
    return error.strerror or "an error"


def _flush_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _locked(folder: Path, *, wait: bool = True) -> Iterator[FileIO]:
    """Hold the folder for one writer, free of what a dead one left; the system releases a dead one's lock."""
    try:
        import fcntl
    except ImportError:
        do = "publish from Linux or macOS; the policy in force is read anywhere"
        raise UsageError(explain("a system with POSIX file locks", sys.platform, do)) from None
    with (folder / _LOCK).open("a+b", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        (folder / _BESIDE).unlink(missing_ok=True)
        yield file
