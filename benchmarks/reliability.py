"""Publishing under attack: writers killed at random moments, fifty at once, and logs that were tampered with.

Children are forked from this process once everything is imported, so that a kill hits publishing and not
the start of Python. A kill shows what a process that dies leaves behind; that everything is flushed to the
disk in the right order is for tests/policy/test_ledger.py.
"""

import argparse
import contextlib
import os
import platform
import random
import re
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from types import FrameType

from tampering import TAMPERINGS, Logs, sealed

from features import table, written
from leadscore.errors import ModelError, UsageError
from leadscore.models.conditions import Condition
from leadscore.policy import ledger
from leadscore.policy.chain import Log
from leadscore.policy.policy import Policy, Rule

ROOT = Path(__file__).parents[1]
NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
CALLED = Rule("asked to be called", (Condition("calls", "at_least", 1),), "wants it today")
BORN = Policy(0.10, 0.30, fast_track=(CALLED,))
EXPECTED = {"mqls_a_week": 41.5, "sentence": "41 leads a week instead of 52"}
LOG = ledger.LOG
ROUND = 20  # kills of one model's publishing, the first of them before it has a log
STALE = re.compile(r"found revision (\d+) by (writer \d+) at \S+ \(“.*”\): .*mql .+ -> ")


def saved_model(place: Path, name: str = "demo") -> Path:
    """Make what publishing needs of a saved model: a directory with a manifest."""
    model = place / name
    model.mkdir(parents=True)
    (model / "manifest.json").write_text(f'{{"name":"{name}"}}')
    return model


def folder_of(model: Path) -> Path:
    return model.with_name(f"{model.name}.policy")


def draft(number: int) -> Policy:
    return Policy(0.05 + number % 1000 / 4000, 0.6, fast_track=(CALLED,))


def put(model: Path, expected: int, author: str, reason: str) -> int:
    """Publish the next draft; give its revision."""
    entry = ledger.publish(
        model,
        draft(expected),
        expected=expected,
        born=BORN,
        author=author,
        reason=reason,
        at=NOON,
        effect=EXPECTED,
    )
    return entry.policy.revision


def edits(model: Path) -> list[tuple[int, str]]:
    """Give what the history holds, verified: revisions and their reasons."""
    return [(entry.policy.revision, entry.reason) for entry in ledger.history(model, BORN)]


def forked(work: Callable[[int], None]) -> tuple[int, int]:
    """Run work in a child with a pipe to write to; give the child's id and where to read."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(reading)
            work(writing)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(writing)
    return child, reading


def was_killed(child: int) -> bool:
    """Wait for a child that was killed, or did all it had to; anything else is an error."""
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        return os.WTERMSIG(status) == signal.SIGKILL
    if status:
        raise RuntimeError("a writer failed")
    return False


def said(reading: int) -> list[tuple[int, str]]:
    """Read what a child acknowledged, to the last whole line."""
    with os.fdopen(reading) as pipe:
        lines = pipe.read().split("\n")[:-1]
    return [(int(revision), reason) for revision, _, reason in (line.partition(" ") for line in lines)]


# ---------------------------------------------------------------------------------------------------- kills
@dataclass
class Found:
    """What killed writers left behind."""

    kills: int = 0
    corrupt: int = 0
    lost: int = 0
    leftovers: int = 0
    acknowledged: int = 0
    in_the_middle: int = 0  # killed with a log half written beside its place
    unacknowledged: int = 0  # killed between the rename and the acknowledgement
    before_any: int = 0  # killed before there was a log


def look(model: Path, before: list[tuple[int, str]], done: list[tuple[int, str]], found: Found) -> None:
    """Start anew after a kill, and hold the history against what was there and what was acknowledged."""
    folder = folder_of(model)
    found.kills += 1
    found.acknowledged += len(done)
    found.in_the_middle += (folder / f"{LOG}.new").exists()
    found.before_any += not (folder / LOG).exists()
    try:
        ledger.in_force(model, BORN)  # the next start
        after = edits(model)
    except ModelError as error:
        print(error)
        found.corrupt += 1
        return
    kept = [*before, *done]
    extra = after[len(kept) :]
    found.lost += sum(edit not in after for edit in kept)
    found.corrupt += after[: len(kept)] != kept or len(extra) > 1
    found.unacknowledged += len(extra)
    left = {path.name for path in folder.glob("*")} - {"lock", LOG}
    found.leftovers += len(left) + len(
        {path.name for path in model.parent.iterdir()} - {model.name, folder.name}
    )


def publish_on(model: Path, name: str, writing: int) -> None:
    """Publish without end, acknowledging each revision once it is published."""
    revision = ledger.in_force(model, BORN).revision
    for number in range(1_000_000):
        revision = put(model, revision, name, f"{name}: {number}")
        os.write(writing, f"{revision} {name}: {number}\n".encode())


def time_of_publishing(place: Path) -> float:
    """Measure the seconds that one revision takes."""
    model = saved_model(place)
    taken = []
    for revision in range(1, 41):
        start = time.perf_counter()
        put(model, revision, "nobody", "how long it takes")
        taken.append(time.perf_counter() - start)
    return median(taken)


def killed_at_random(place: Path, kills: int, rng: random.Random) -> Found:
    """Kill writers at moments drawn evenly from the time of a few publications, the start included."""
    found = Found()
    within = 4 * time_of_publishing(place / "timing")
    for number in range(kills):
        model = place / f"{number // ROUND}" / "demo"
        if number % ROUND == 0:
            saved_model(model.parent)
        before = edits(model)
        name = f"writer {number}"
        child, reading = forked(lambda writing, m=model, n=name: publish_on(m, n, writing))
        time.sleep(rng.uniform(0, within))
        os.kill(child, signal.SIGKILL)
        if not was_killed(child):
            raise RuntimeError("a writer ended before it was killed")
        look(model, before, said(reading), found)
    return found


def dying_at(line: int) -> Callable[[FrameType, str, object], object]:
    """Trace a process so that it kills itself as it reaches the nth line of the ledger's code."""
    passed = 0

    def trace(frame: FrameType, event: str, _: object) -> object:
        nonlocal passed
        if frame.f_code.co_filename != ledger.__file__:
            return None
        passed += event == "line"
        if passed > line:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace

    return trace


def killed_at_each_line(place: Path) -> Found:
    """Kill the first publication, and a later one, at every line of code that they run."""
    found = Found()
    for first in (True, False):
        for line in range(10_000):
            model = saved_model(place / f"{first}{line}")
            before = [] if first else [(put(model, 1, "anna", "before"), "before")]

            def publish_once(
                writing: int, model: Path = model, line: int = line, first: bool = first
            ) -> None:
                sys.settrace(dying_at(line))
                revision = put(model, 1 if first else 2, "ben", "dies")
                sys.settrace(None)
                os.write(writing, f"{revision} dies\n".encode())

            child, reading = forked(publish_once)
            killed, done = was_killed(child), said(reading)
            if not killed:
                break
            look(model, before, done, found)
            put(model, ledger.in_force(model, BORN).revision, "carl", "and on it goes")
    return found


# -------------------------------------------------------------------------------------------------- writers
def edit_on(model: Path, name: str, attempts: int, starting: int, writing: int) -> None:
    """Try edits as people do: read what is in force, then publish on it; say what came of each."""
    os.read(starting, 1)
    for number in range(attempts):
        reason = f"{name}: {number}"
        seen = ledger.in_force(model, BORN).revision
        try:
            line = f"{put(model, seen, name, reason)} {reason}"
        except UsageError as refused:
            line = f"0 {refused}"
        os.write(writing, f"{line}\n".encode())


def written_at_once(place: Path, writers: int, attempts: int) -> dict[str, int]:
    """Let processes edit the same policy at once; count what was acknowledged, refused and kept."""
    model = saved_model(place)
    waiting, starting = os.pipe()
    children = []
    for number in range(writers):
        name = f"writer {number}"
        children.append(forked(lambda w, n=name: edit_on(model, n, attempts, waiting, w)))
    os.write(starting, b"g" * writers)
    answers = [answer for _, reading in children for answer in said(reading)]
    ended = [os.waitpid(child, 0)[1] for child, _ in children]
    kept = Counter(edits(model))
    authors = {str(entry.policy.revision): entry.author for entry in ledger.history(model, BORN)}
    acknowledged = [answer for answer in answers if answer[0]]
    named = [STALE.search(message) for revision, message in answers if not revision]
    return {
        "attempts": len(answers),
        "writers that failed": sum(code != 0 for code in ended),
        "acknowledged": len(acknowledged),
        "acknowledged and exactly once in the history": sum(kept[edit] == 1 for edit in acknowledged),
        "revisions in the history": kept.total(),
        "refused": len(named),
        "refused by naming the other's change": sum(
            match is not None and authors[match[1]] == match[2] for match in named
        ),
    }


# ---------------------------------------------------------------------------------------------- tamperings
def refused(model: Path, content: bytes | None) -> bool:
    """Say whether nobody can read a tampered log, nor publish on it, nor change it by trying."""
    path = folder_of(model) / LOG
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    ways = (
        lambda: ledger.in_force(model, BORN),
        lambda: ledger.history(model, BORN),
        lambda: put(model, 13, "eve", "on top of it"),
    )
    refusals = 0
    for way in ways:
        with contextlib.suppress(ModelError):
            way()
            continue
        refusals += 1
    left = path.read_bytes() if path.exists() else None
    return refusals == len(ways) and left == content


def tampered(place: Path, count: int, rng: random.Random) -> tuple[list[list[str]], int, int]:
    """Tamper with a log in every way in turn; give the table, how many were detected, and of how many."""
    model, other = saved_model(place), saved_model(place / "elsewhere", "other")
    branch = saved_model(place / "branch")
    for revision in range(1, 13):
        put(model, revision, "anna", f"reason {revision}")
        put(other, revision, "anna", f"reason {revision}")
        put(branch, revision, "eve", f"reason {revision}")
        if revision == 11:
            older = (folder_of(model) / LOG).read_bytes()
    logs = Logs(
        *((folder_of(each) / LOG).read_bytes().splitlines(keepends=True) for each in (model, other, branch)),
        older,
    )
    tried: Counter[str] = Counter()
    detected: Counter[str] = Counter()
    kinds = list(TAMPERINGS)
    while tried.total() < count:
        kind = kinds[tried.total() % len(kinds)]
        content = TAMPERINGS[kind](logs, rng)
        if content == logs.whole:  # a byte replaced by itself is none
            continue
        tried[kind] += 1
        detected[kind] += refused(model, content)
        (folder_of(model) / LOG).write_bytes(logs.whole)
    rows = [[kind, f"{tried[kind]:,}", f"{detected[kind]:,}"] for kind in kinds]
    return rows, detected.total(), tried.total()


def rewritten(place: Path, count: int) -> int:
    """Make the whole chain anew, or put an old log back: count how often a digest kept elsewhere tells."""
    model, branch = saved_model(place), saved_model(place / "branch")
    logs = []
    for revision in range(1, count + 1):
        put(branch, revision, "eve", f"made anew {revision}")
        logs.append((folder_of(branch) / LOG).read_bytes())
        put(model, revision, "anna", f"reason {revision}")
        logs.append((folder_of(model) / LOG).read_bytes())
    kept = ledger.history(model, BORN)[-1].sha256
    told = 0
    for content in logs[-1 - count : -1]:
        (folder_of(model) / LOG).write_bytes(content)
        try:
            ledger.in_force(model, BORN, sha256=kept)
        except ModelError:
            told += 1
    return told


# ---------------------------------------------------------------------------------------------------- speed
def lengthened(model: Path, size: int) -> float:
    """Give a model a log of so many revisions without publishing them one by one; give its megabytes."""
    put(model, 1, "anna", "the first of them, with a reason of some length")
    fields = ledger.history(model, BORN)[0].to_dict()
    del fields["previous"], fields["sha256"]
    lines, last = [], ledger._manifest(model)
    for revision in range(2, size + 2):
        policy = replace(draft(revision), revision=revision).to_dict()
        log = Log(BORN, last).extended(fields | {"policy": policy})
        lines.append(log.body)
        last = log.lines[0]["sha256"]
    content = sealed(lines)
    (folder_of(model) / LOG).write_bytes(content)
    return len(content) / 2**20


def speed(place: Path, size: int) -> list[str]:
    """Measure the CPU milliseconds of reading and publishing with so many revisions."""
    model = saved_model(place / f"{size}")
    megabytes = lengthened(model, size)
    ways: dict[str, Callable[[int], object]] = {
        "in force": lambda _: ledger.in_force(model, BORN),
        "history": lambda _: ledger.history(model, BORN),
        "publish": lambda revision: put(model, revision, "anna", "one more"),
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for revision in range(size + 1, size + 8):
        for name, way in ways.items():
            start = time.process_time()
            way(revision)
            taken[name].append(1000 * (time.process_time() - start))
    return [f"{size:,}", f"{megabytes:.2f}", *(f"{median(times):.1f}" for times in taken.values())]


# --------------------------------------------------------------------------------------------------- report
def machine(place: Path) -> str:
    cpu = next(
        line.split(":")[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    )
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    under = [each for each in mounts if place.is_relative_to(each[0])]
    return (
        f"{os.cpu_count()} cores ({cpu}), {max(under, key=lambda each: len(each[0]))[1]}, "
        f"{platform.system()} {platform.release()}; Python {platform.python_version()}; "
        f"{datetime.now(UTC).date()}; load average {os.getloadavg()[0]:.1f} when it began"
    )


def bar(what: str, wanted: int, found: int) -> list[str]:
    return [what, f"{wanted:,}", f"{found:,}", "yes" if found == wanted else "NO"]


def kill_bars(what: str, found: Found) -> list[list[str]]:
    return [
        bar(f"{what}: logs that are corrupt", 0, found.corrupt),
        bar(f"{what}: acknowledged revisions that are lost", 0, found.lost),
        bar(f"{what}: temporary files after the next start", 0, found.leftovers),
    ]


def kill_row(what: str, found: Found) -> list[str]:
    counts = (found.kills, found.acknowledged, found.before_any, found.in_the_middle, found.unacknowledged)
    return [what, *(f"{count:,}" for count in counts)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=2_000)
    parser.add_argument("--writers", type=int, default=50)
    parser.add_argument("--edits", type=int, default=200, help="that each writer tries")
    parser.add_argument("--tamperings", type=int, default=1_000)
    parser.add_argument("--revisions", type=int, nargs="*", default=(100, 1_000, 10_000))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true", help="into docs/reliability.md")
    given = parser.parse_args()
    rng = random.Random(given.seed)
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name).resolve()
        head = machine(place)
        at_random = killed_at_random(place / "kills", given.kills, rng)
        by_line = killed_at_each_line(place / "lines")
        at_once = written_at_once(place / "writers", given.writers, given.edits)
        kinds, detected, tried = tampered(place / "tampered", given.tamperings, rng)
        told = rewritten(place / "rewritten", 100)
        speeds = [speed(place / "speed", size) for size in given.revisions]
    random_kills = f"{at_random.kills:,} kills at random moments"
    line_kills = f"{by_line.kills:,} kills, one at every line of publishing"
    attempts = given.writers * given.edits
    settled = at_once["acknowledged"] + at_once["refused"]
    bars = [
        *kill_bars(random_kills, at_random),
        *kill_bars(line_kills, by_line),
        bar("edits acknowledged or refused, of those tried at once", attempts, settled),
        bar(
            "acknowledged edits exactly once in the history",
            at_once["acknowledged"],
            at_once["acknowledged and exactly once in the history"],
        ),
        bar("revisions in the history", at_once["acknowledged"], at_once["revisions in the history"]),
        bar(
            "conflicts refused with the other's name and change",
            at_once["refused"],
            at_once["refused by naming the other's change"],
        ),
        bar("tamperings detected", tried, detected),
        bar("chains made anew, old logs put back: told by a digest kept elsewhere", 100, told),
    ]
    seconds = time.monotonic() - start
    killed = ["killed", "kills", "acknowledged", "before the first log", "half written", "renamed, unsaid"]
    text = "\n\n".join(
        [
            f"{head}; {seconds:,.0f} s in all; seed {given.seed}.",
            table(["bar", "wanted", "found", "met"], bars),
            "### Where the kills hit",
            table(killed, [kill_row("at random", at_random), kill_row("at every line", by_line)]),
            f"### {given.writers} writers, {given.edits} edits each, at once",
            table(["what", "count"], [[what, f"{count:,}"] for what, count in at_once.items()]),
            "### Tamperings",
            table(["kind", "tried", "detected"], kinds),
            "### CPU milliseconds",
            table(["revisions", "MB", "in force", "history", "publish"], speeds),
        ]
    )
    print(text)
    if given.write:
        written("## Figures", text, ROOT / "docs" / "reliability.md")
    return int(any(line[-1] == "NO" for line in bars))


if __name__ == "__main__":
    sys.exit(main())
