"""Ways to tamper with a log of published policies, each with code of its own for digests and seals."""

import hashlib
import json
import random
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Logs:
    """A log to tamper with, and others to take lines from."""

    lines: list[bytes]
    other_model: list[bytes]
    other_branch: list[bytes]  # the same model's, with the same revisions by somebody else
    older: bytes

    @property
    def whole(self) -> bytes:
        """The log that is tampered with."""
        return b"".join(self.lines)


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def sealed(body: list[bytes]) -> bytes:
    """Seal lines anew, as an attacker would who read how it is done."""
    content = b"".join(body)
    return content + f'{{"seal":"{digest(content)}"}}\n'.encode()


def signed(line: bytes) -> bytes:
    """Give an altered line its own digest anew; the chain goes on from the old one."""
    values = json.loads(line)
    del values["sha256"]
    own = digest(json.dumps(values, sort_keys=True, separators=(",", ":")).encode())
    return json.dumps(values | {"sha256": own}, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def edited(line: bytes, rng: random.Random) -> bytes:
    """Alter a value that matters."""
    ways = (
        (b'"mql":0.', b'"mql":0.0'),
        (b'"author":"anna"', b'"author":"ben"'),
        (b'"reason":"', b'"reason":"not '),
        (b'"at":"2026', b'"at":"2025'),
        (b"41.5", b"61.5"),
        (b'"restores":null', b'"restores":1'),
    )
    return line.replace(*rng.choice(ways))


def _bit(logs: Logs, rng: random.Random) -> bytes:
    altered = bytearray(logs.whole)
    altered[rng.randrange(len(altered))] ^= 1 << rng.randrange(8)
    return bytes(altered)


def _byte(logs: Logs, rng: random.Random) -> bytes:
    at = rng.randrange(len(logs.whole))
    kind = rng.choice(("changed", "added", "removed"))
    new = b"" if kind == "removed" else bytes([rng.randrange(256)])
    return logs.whole[:at] + new + logs.whole[at + (kind != "added") :]


def _cut(logs: Logs, rng: random.Random) -> bytes:
    at = rng.randrange(len(logs.whole))
    return logs.whole[:at] if rng.random() < 0.5 else logs.whole[at + 1 :]


def _torn(logs: Logs, rng: random.Random) -> bytes:
    at = rng.randrange(len(logs.whole) // 512) * 512
    return logs.whole[:at] + bytes(512) + logs.whole[at + 512 :]


def _appended(logs: Logs, rng: random.Random) -> bytes:
    return logs.whole + rng.choice([b"\n", b"{}\n", b" ", logs.lines[-1], logs.lines[0], rng.randbytes(9)])


def _rearranged(lines: list[bytes], rng: random.Random) -> list[bytes]:
    """Drop, repeat or swap lines; never only the last one, which leaves an older log."""
    one, other = sorted(rng.sample(range(len(lines)), 2))
    kind = rng.choice(("dropped", "repeated", "swapped"))
    if kind == "dropped":
        return lines[:one] + lines[one + 1 :]
    if kind == "repeated":
        return [*lines[:one], lines[one], *lines[one:]]
    return [*lines[:one], lines[other], *lines[one + 1 : other], lines[one], *lines[other + 1 :]]


def _lines(logs: Logs, rng: random.Random) -> bytes:
    return b"".join(_rearranged(logs.lines, rng))


def _lines_sealed(logs: Logs, rng: random.Random) -> bytes:
    return sealed(_rearranged(logs.lines[:-1], rng))


def _foreign(logs: Logs, rng: random.Random) -> bytes:
    at = rng.randrange(len(logs.lines) - 2)  # the last line of another branch is a log of its own
    taken = rng.choice((logs.other_model, logs.other_branch))
    body = [*logs.lines[:at], taken[at], *logs.lines[at + 1 : -1]]
    return rng.choice((sealed(body), b"".join([*body, logs.lines[-1]])))


def _edit(logs: Logs, rng: random.Random) -> bytes:
    at = rng.randrange(len(logs.lines) - 1)
    return b"".join([*logs.lines[:at], edited(logs.lines[at], rng), *logs.lines[at + 1 :]])


def _edit_sealed(logs: Logs, rng: random.Random) -> bytes:
    at = rng.randrange(len(logs.lines) - 1)
    return sealed([*logs.lines[:at], edited(logs.lines[at], rng), *logs.lines[at + 1 : -1]])


def _edit_signed(logs: Logs, rng: random.Random) -> bytes:
    at = rng.randrange(len(logs.lines) - 1)
    return b"".join([*logs.lines[:at], signed(edited(logs.lines[at], rng)), *logs.lines[at + 1 :]])


def _edit_signed_sealed(logs: Logs, rng: random.Random) -> bytes:
    at = rng.randrange(len(logs.lines) - 2)  # the last line would be a chain made anew
    return sealed([*logs.lines[:at], signed(edited(logs.lines[at], rng)), *logs.lines[at + 1 : -1]])


def _other_seal(logs: Logs, rng: random.Random) -> bytes:
    seals = (logs.other_model[-1], logs.other_branch[-1], logs.older.splitlines(keepends=True)[-1])
    return b"".join([*logs.lines[:-1], rng.choice(seals)])


def _whole(logs: Logs, rng: random.Random) -> bytes | None:
    return rng.choice([None, b"", b"\n", b"null\n", logs.lines[-1], b"".join(logs.other_model)])


TAMPERINGS: dict[str, Callable[[Logs, random.Random], bytes | None]] = {
    "one bit flipped": _bit,
    "a byte changed, added or removed": _byte,
    "cut at either end": _cut,
    "a block of 512 zeros": _torn,
    "something appended": _appended,
    "lines dropped, repeated, swapped": _lines,
    "lines dropped, repeated, swapped; log sealed anew": _lines_sealed,
    "a line of another log": _foreign,
    "a value edited": _edit,
    "a value edited; log sealed anew": _edit_sealed,
    "a value edited; its line's digest made anew": _edit_signed,
    "a value edited; its line's digest made anew, log sealed anew": _edit_signed_sealed,
    "another log's seal": _other_seal,
    "removed, emptied, or another model's": _whole,
}
