"""The log of published policies as bytes: a hash-chained line for each revision and a seal; no disk here.

Each line is an entry as canonical JSON. It carries the SHA-256 of the line before it (the first: a digest
that stands for the model) and, last, its own; the last line of the log seals all lines before it, so that
a log cut short is noticed too. Lines are never written again, so that a later version of a policy's form
leaves old lines, and their digests, as they are.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from leadscore.errors import LeadScoreError, ModelError, UsageError, explain, shown
from leadscore.policy.policy import Policy, differences

LOG: Final = "log.jsonl"
RESTORE: Final = "restore the log from a backup; nothing is in force until then"
_OLD_KEYS: Final = frozenset({"at", "author", "policy", "previous", "reason", "restores", "sha256"})
_KEYS: Final = _OLD_KEYS | {"effect"}  # the first logs kept no effects
_ENDING: Final = len(',"sha256":""}\n') + 64  # bytes of a line from its own digest on


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
    effect : mapping or None
        What was expected of it when it was published, as plain values for JSON.
    """

    policy: Policy
    author: str
    reason: str
    at: str
    restores: int | None
    previous: str
    sha256: str
    effect: Mapping[str, Any] | None = field(default=None, hash=False)

    def to_dict(self) -> dict[str, Any]:
        """Give the entry as plain values for JSON."""
        return {name: getattr(self, name) for name in _KEYS} | {"policy": self.policy.to_dict()}


@dataclass(frozen=True, slots=True)
class Log:
    """A log whose every byte is as it was written; an entry is read only when it is asked for.

    Parameters
    ----------
    born : Policy
        The policy in the model.
    model : str
        The digest that stands for the model.
    body : bytes
        All lines but the seal.
    lines : tuple of dict
        What they say.

    Examples
    --------
    >>> log = Log(Policy(mql=0.10, sales_ready=0.30), model="5e1")
    >>> why = {"author": "Ada", "reason": "r", "at": "2026-05-04T09:30:00+00:00", "restores": None}
    >>> longer = log.extended({"policy": Policy(0.2, 0.3, revision=2).to_dict(), **why, "effect": None})
    >>> log.latest, longer.latest, verified(longer.sealed, log.born, "5e1") == longer
    (1, 2, True)
    """

    born: Policy
    model: str
    body: bytes = b""
    lines: tuple[dict[str, Any], ...] = ()

    @property
    def latest(self) -> int:
        """The revision in force."""
        return self.born.revision + len(self.lines)

    @property
    def sealed(self) -> bytes:
        """The whole log, as it is kept."""
        return self.body + _seal(self.body)

    def holds(self, sha256: str) -> bool:
        """Say whether an entry has this digest."""
        return any(line["sha256"] == sha256.lower() for line in self.lines)

    def policy(self, revision: int) -> Policy:
        """Give the policy of a revision from the one that the model was born with to the latest."""
        return self.born if revision == self.born.revision else self.entry(revision).policy

    def entry(self, revision: int) -> Entry:
        """Give a published revision; a ModelError where it does not read."""
        number = revision - self.born.revision
        try:
            return _entry(self.lines[number - 1])
        except (ValueError, TypeError, LeadScoreError):
            raise altered(f"line {number} is no entry") from None

    def extended(self, fields: Mapping[str, Any]) -> "Log":
        """Give the log with one entry more: all its fields but the two digests, as plain values."""
        previous = self.lines[-1]["sha256"] if self.lines else self.model
        line = _signed(canonical({**fields, "previous": previous})[:-1])
        return Log(self.born, self.model, self.body + line, (*self.lines, json.loads(line)))

    def stale(self, expected: int) -> UsageError:
        """Say who changed what, and why, since the revision that was expected."""
        found = f"revision {self.latest}"
        if self.lines:
            last = self.entry(self.latest)
            found += f" by {shown(last.author)} at {last.at} (“{shown(last.reason)}”)"
        if self.born.revision <= expected < self.latest:
            changes = differences(self.policy(expected), self.policy(self.latest))
            found += f": {', '.join(changes) or 'the same thresholds and rules'}"
        return UsageError(explain(f"revision {expected} in force", found, "look at it and decide again"))


def verified(content: bytes, born: Policy, model: str) -> Log:
    """Take a log whose every byte is as it was written.

    Parameters
    ----------
    content : bytes
    born : Policy
        The policy in the model.
    model : str
        The digest that stands for the model.

    Returns
    -------
    Log

    Raises
    ------
    ModelError
        It is altered, cut short, or another model's.
    """
    lines = content.splitlines(keepends=True)
    body = b"".join(lines[:-1])
    if len(lines) < 2 or lines[-1] != _seal(body):
        raise altered("its seal does not fit")
    read: list[dict[str, Any]] = []
    previous, revision = model, born.revision
    for number, line in enumerate(lines[:-1], start=1):
        try:
            values = json.loads(line)
            before, digest, found = values["previous"], values["sha256"], values["policy"]["revision"]
        except (ValueError, TypeError, KeyError, RecursionError):
            raise altered(f"line {number} is no entry") from None
        if before != previous and number == 1:
            found = "one that was published for another model"
            do = f"move {LOG} out of the .policy folder and publish anew"
            raise ModelError(explain("a log of this model's policies", found, do))
        if before != previous or line != _signed(line[:-_ENDING]):
            raise altered(f"line {number} does not fit the chain")
        if found != revision + 1:
            raise altered(f"line {number} skips a revision")
        read.append(values)
        previous, revision = digest, found
    return Log(born, model, body, tuple(read))


def altered(found: str) -> ModelError:
    """Refuse a log, saying what is wrong with it."""
    return ModelError(explain(f"{LOG} of published policies as it was written", found, RESTORE))


def canonical(values: Mapping[str, Any]) -> bytes:
    """Write plain values as JSON in one form; ValueError or TypeError for any others."""
    return json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _signed(fields: bytes) -> bytes:
    """End a line, given as canonical JSON without its last brace, with its digest: the last of the keys."""
    return fields + b',"sha256":"' + _digest(fields + b"}") + b'"}\n'


def _seal(body: bytes) -> bytes:
    return b'{"seal":"' + _digest(body) + b'"}\n'


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()


def _entry(values: dict[str, Any]) -> Entry:
    """Read one entry; ValueError, TypeError or a LeadScoreError for anything else."""
    if values.keys() not in (_KEYS, _OLD_KEYS):
        raise ValueError
    texts = (values[name] for name in ("author", "reason", "at", "previous", "sha256"))
    if not all(isinstance(text, str) for text in texts) or not isinstance(values["restores"], int | None):
        raise TypeError
    if not isinstance(values.get("effect"), dict | None):
        raise TypeError
    return Entry(**{**values, "policy": Policy.from_dict(values["policy"])})
