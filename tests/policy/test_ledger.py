import contextlib
import errno
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from types import MappingProxyType

import pytest

from leadscore.errors import ModelError, UsageError
from leadscore.models.conditions import Condition
from leadscore.policy import ledger
from leadscore.policy.ledger import history, in_force, publish, set_aside, undo
from leadscore.policy.policy import Policy, Rule, Thresholds

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
BORN = Policy(0.10, 0.30)
NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


@pytest.fixture
def model(tmp_path):
    directory = tmp_path / "demo"
    directory.mkdir()
    (directory / "manifest.json").write_text('{"format": 1}')
    return directory


def put(model, mql, expected, author="anna", reason="too many leads"):
    return publish(
        model, Policy(mql, 0.6), expected=expected, born=BORN, author=author, reason=reason, at=NOON
    )


def log_of(model):
    return model.parent / "demo.policy" / "log.jsonl"


def test_the_policy_a_model_was_born_with_is_in_force_until_one_is_published(model):
    assert in_force(model, BORN) is BORN
    assert history(model, BORN) == ()
    entry = put(model, 0.2, expected=1)
    assert entry.policy == Policy(0.2, 0.6, revision=2)
    assert in_force(model, BORN) == entry.policy
    assert (entry.author, entry.reason, entry.at) == ("anna", "too many leads", "2026-05-04T12:00:00+00:00")
    assert not any(model.glob("*.jsonl"))  # the model's own directory stays as it is


def test_history_keeps_every_revision_with_its_rules(model):
    rule = Rule("called", (Condition("calls", "at_least", 1), Condition("land", "in", ("AT", "CH"))), "asked")
    draft = Policy(0.2, 0.6, fast_track=(rule,))
    local = NOON.astimezone(timezone(timedelta(hours=2)))
    publish(model, draft, expected=1, born=BORN, author="Zoë\n", reason="é", at=local)
    put(model, 0.3, expected=2)
    first, second = history(model, BORN)
    assert first.policy.fast_track == (rule,)
    assert (first.author, first.at) == ("Zoë\n", "2026-05-04T12:00:00+00:00")
    assert second.previous == first.sha256
    assert [entry.policy.revision for entry in (first, second)] == [2, 3]


def test_what_was_expected_is_kept(model):
    effect = {"mqls a week": 41.5, "by": {"fair": [1, None, True]}, "sentence": "41 instead of 52"}
    who = {"born": BORN, "author": "anna", "reason": "why", "at": NOON}
    assert publish(model, Policy(0.2, 0.6), expected=1, effect=effect, **who).effect == effect
    assert publish(model, Policy(0.3, 0.6), expected=2, effect=MappingProxyType({}), **who).effect == {}
    assert undo(model, expected=3, effect={"undone": 1}, **who).effect == {"undone": 1}
    put(model, 0.2, expected=4)
    assert [entry.effect for entry in history(model, BORN)] == [effect, {}, {"undone": 1}, None]


ENDLESS = {}
ENDLESS["again"] = ENDLESS


@pytest.mark.parametrize(
    ("effect", "found"),
    [
        ({"leads": float("nan")}, "something else"),
        ({"leads": float("inf")}, "something else"),
        ({"leads": Policy(0.1, 0.3)}, "something else"),
        ({("a", "b"): 1}, "something else"),
        ({"digits": 10**5000}, "something else"),
        (ENDLESS, "something else"),
        ([1, 2], "something else"),
        ("41 leads", "something else"),
        ({"sentence": "x" * 70_000}, "70,015 bytes"),
    ],
)
def test_an_effect_that_cannot_be_kept_is_refused(model, effect, found):
    with pytest.raises(UsageError, match=rf"at most 65,536 bytes as JSON; found {found}; give"):
        publish(
            model, Policy(0.2, 0.6), expected=1, born=BORN, author="a", reason="r", at=NOON, effect=effect
        )
    assert not log_of(model).parent.exists()


def test_undo_brings_back_thresholds_by_segment(model):
    who = {"born": BORN, "author": "anna", "reason": "why", "at": NOON}
    regional = Policy(
        0.2, 0.6, segment="source", segments={"Fair": Thresholds(0.3, 0.7)}, stay=0.8, cool_down=30
    )
    publish(model, regional, expected=1, **who)
    put(model, 0.3, expected=2)
    entry = undo(model, expected=3, **who)
    assert entry.policy == replace(regional, revision=4)
    assert in_force(model, BORN) == entry.policy


def test_undo_of_what_another_changed_meanwhile_is_refused(model):
    put(model, 0.2, expected=1, author="anna")
    put(model, 0.4, expected=2, author="ben", reason="fewer\nleads")
    with pytest.raises(UsageError) as refused:
        undo(model, expected=2, born=BORN, author="anna", reason="back", at=NOON)
    assert "found revision 3 by ben at 2026-05-04T12:00:00+00:00 (“fewerleads”): " in str(refused.value)
    assert "mql 20 % -> 40 %" in str(refused.value)
    assert len(history(model, BORN)) == 2


def test_undo_is_a_new_revision(model):
    put(model, 0.2, expected=1)
    put(model, 0.3, expected=2)
    who = {"born": BORN, "author": "ben", "reason": "back", "at": NOON}
    entry = undo(model, expected=3, **who)
    assert (entry.policy.revision, entry.policy.mql, entry.restores) == (4, 0.2, 2)
    assert undo(model, expected=4, to=1, **who).policy.mql == BORN.mql
    assert [e.policy.mql for e in history(model, BORN)] == [0.2, 0.3, 0.2, 0.1]
    with pytest.raises(UsageError, match="found revisions 1 to 5"):
        undo(model, expected=5, to=9, **who)


def test_there_is_nothing_to_undo_at_first(model):
    with pytest.raises(UsageError, match="expected revision 0 to go back to"):
        undo(model, expected=1, born=BORN, author="ben", reason="back", at=NOON)
    assert not log_of(model).exists()


def test_a_stale_edit_is_refused_and_names_the_others_change(model):
    put(model, 0.2, expected=1, author="anna")
    before = log_of(model).read_bytes()
    with pytest.raises(UsageError) as refused:
        put(model, 0.5, expected=1, author="ben")
    assert "found revision 2 by anna at 2026-05-04T12:00:00+00:00" in str(refused.value)
    assert "mql 10 % -> 20 %, sales_ready 30 % -> 60 %" in str(refused.value)
    with pytest.raises(UsageError, match="expected revision 7 in force; found revision 2"):
        put(model, 0.5, expected=7)
    assert log_of(model).read_bytes() == before


def test_who_when_and_why_are_needed(model):
    for change, says in (
        ({"author": " "}, "an author"),
        ({"reason": ""}, "a reason"),
        ({"reason": "x" * 10_001}, "a reason of at most 10,000 characters; found 10,001"),
        ({"at": datetime(2026, 5, 4)}, "a time with its zone"),
    ):
        given = {"author": "anna", "reason": "why", "at": NOON, **change}
        with pytest.raises(UsageError, match=says):
            publish(model, Policy(0.2, 0.6), expected=1, born=BORN, **given)
    assert not log_of(model).exists()


@pytest.fixture
def published(model):
    for revision, mql in enumerate((0.2, 0.3, 0.4), start=1):
        put(model, mql, expected=revision)
    return model


def refuses(model):
    with pytest.raises(ModelError):
        in_force(model, BORN)
    with pytest.raises(ModelError):
        put(model, 0.5, expected=4)
    return True


def test_an_altered_log_is_refused_by_all(published):
    whole = log_of(published).read_bytes()
    lines = whole.splitlines(keepends=True)
    for content in (
        b"",
        lines[-1],
        whole[:-1],
        b"".join(lines[1:]),
        b"".join([lines[1], lines[0], *lines[2:]]),
    ):
        log_of(published).write_bytes(content)
        for way in (in_force, history):
            with pytest.raises(ModelError):
                way(published, BORN)
        with pytest.raises(ModelError):
            put(published, 0.5, expected=4)
        assert log_of(published).read_bytes() == content


def test_a_log_that_is_gone_is_not_taken_for_one_that_never_was(published):
    log_of(published).unlink()
    with pytest.raises(ModelError, match="as it was written; found none; restore"):
        in_force(published, BORN)
    with pytest.raises(ModelError, match="found none"):
        put(published, 0.5, expected=1)
    assert not log_of(published).exists()


def test_links_that_lead_nowhere_are_not_taken_for_no_log(model, tmp_path):
    folder = log_of(model).parent
    folder.symlink_to(tmp_path / "unmounted")
    with pytest.raises(ModelError, match="found none"):
        in_force(model, BORN)
    with pytest.raises(UsageError, match="nothing has changed"):
        put(model, 0.2, expected=1)
    (tmp_path / "unmounted").mkdir()
    assert in_force(model, BORN) is BORN
    assert put(model, 0.2, expected=1).policy.revision == 2


def test_a_digest_kept_elsewhere_tells_a_chain_that_was_made_anew(published):
    first, _, last = history(published, BORN)
    older = log_of(published).read_bytes()
    put(published, 0.5, expected=4)
    for kept in (first.sha256, last.sha256.upper(), history(published, BORN)[-1].sha256):
        assert in_force(published, BORN, sha256=kept).mql == 0.5
        assert len(history(published, BORN, sha256=kept)) == 4
    kept = history(published, BORN)[-1].sha256
    log_of(published).write_bytes(older)
    assert in_force(published, BORN).mql == 0.4
    with pytest.raises(ModelError, match="the entry whose digest was given; found one without it"):
        in_force(published, BORN, sha256=kept)


def test_a_digest_kept_elsewhere_tells_a_folder_that_is_gone(model):
    kept = put(model, 0.2, expected=1).sha256
    for path in log_of(model).parent.iterdir():
        path.unlink()
    assert in_force(model, BORN) is BORN
    with pytest.raises(ModelError, match="found one without it"):
        history(model, BORN, sha256=kept)


def test_another_models_log_is_refused_with_the_way_out(published):
    (published / "manifest.json").write_text('{"format": 1, "trained": "again"}')
    with pytest.raises(ModelError, match="published for another model; move"):
        in_force(published, BORN)


def test_a_directory_without_a_model_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"expected a manifest\.json"):
        put(tmp_path / "demo", 0.2, expected=1)
    assert not (tmp_path / "demo.policy").exists()


class Disk:
    """A disk that is full from the nth flush on."""

    def __init__(self, flushes):
        self.left = flushes

    def fsync(self, _handle):
        self.left -= 1
        if self.left < 0:
            raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("flushes", [0, 1])
def test_a_full_disk_changes_nothing(published, monkeypatch, flushes):
    before = log_of(published).read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", Disk(flushes).fsync)
        with pytest.raises(UsageError, match=r"No space left on device; .* nothing has changed"):
            put(published, 0.5, expected=4)
    assert log_of(published).read_bytes() == before
    assert sorted(path.name for path in log_of(published).parent.iterdir()) == ["lock", "log.jsonl"]
    assert put(published, 0.5, expected=4).policy.revision == 5


def test_a_revision_that_the_disk_did_not_confirm_is_said_to_be_in_force(published, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", Disk(2).fsync)
        with pytest.raises(UsageError, match="the disk to confirm revision 5; found No space"):
            put(published, 0.5, expected=4)
    assert in_force(published, BORN).revision == 5


def test_a_log_that_grows_too_long_to_be_read_is_not_written(published, monkeypatch):
    before = log_of(published).read_bytes()
    monkeypatch.setattr(ledger, "_LIMIT", len(before) + 100)
    with pytest.raises(
        UsageError, match=r"expected a log of at most 1,.* bytes; found 1,.* with this revision"
    ):
        put(published, 0.5, expected=4)
    assert log_of(published).read_bytes() == before
    assert in_force(published, BORN).revision == 4
    monkeypatch.setattr(ledger, "_LIMIT", len(before) - 1)
    with pytest.raises(ModelError, match=r"as it was written; found 1,.* bytes"):
        in_force(published, BORN)


def test_what_is_acknowledged_was_flushed_in_an_order_that_a_power_cut_cannot_undo(published, monkeypatch):
    """Whatever is not flushed may be lost: so the content goes first, then the name, then the answer."""
    steps = []
    folder = log_of(published).parent
    fsync, rename = os.fsync, Path.replace

    def flushed(handle):
        same = [path for path in (folder.parent, *folder.parent.rglob("*")) if path.exists()]
        here = next(path for path in same if path.samestat(os.fstat(handle)))
        steps.append(("flush", here.name, here.stat().st_size if here.is_file() else None))
        fsync(handle)

    def renamed(self, target):
        steps.append(("rename", self.name, target.name))
        return rename(self, target)

    monkeypatch.setattr(Path, "samestat", lambda p, stat: os.path.samestat(p.stat(), stat), raising=False)
    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(Path, "replace", renamed)
    put(published, 0.5, expected=4)
    assert steps == [
        ("flush", folder.parent.name, None),  # the folder's own name
        ("flush", "log.jsonl.new", log_of(published).stat().st_size),
        ("rename", "log.jsonl.new", "log.jsonl"),
        ("flush", folder.name, None),
    ]


@pytest.fixture
def left_over(published):
    path = log_of(published).with_name("log.jsonl.new")
    path.write_bytes(b"half a lo")
    return path


@pytest.mark.parametrize("start", [in_force, history, lambda model, _: set_aside(model)])
def test_what_a_killed_writer_left_is_gone_after_the_next_start(published, left_over, start):
    start(published, BORN)
    assert not left_over.exists()
    assert in_force(published, BORN).revision == 4


def test_readers_leave_a_writer_at_work_alone(published, left_over):
    with (left_over.with_name("lock")).open("a+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert in_force(published, BORN).revision == 4
        assert left_over.exists()
    in_force(published, BORN)
    assert not left_over.exists()


def test_publishing_needs_locks_and_reading_does_not(published, left_over, monkeypatch):
    before = log_of(published).read_bytes()
    monkeypatch.setitem(sys.modules, "fcntl", None)  # as on Windows
    with pytest.raises(UsageError, match=r"with POSIX file locks; .* publish from Linux"):
        put(published, 0.5, expected=4)
    assert set_aside(published) is None
    assert in_force(published, BORN).revision == 4
    assert log_of(published).read_bytes() == before


def test_a_file_in_the_way_of_the_folder_is_refused_by_all(model):
    log_of(model).parent.write_text("a file")
    with pytest.raises(UsageError, match=r"to write in 'demo\.policy'; found File exists; .* nothing has"):
        put(model, 0.2, expected=1)
    with pytest.raises(ModelError, match=r"a readable log\.jsonl; found Not a directory"):
        in_force(model, BORN)
    assert log_of(model).parent.read_text() == "a file"


HINDERED = """
import os, resource, signal, sys
from datetime import UTC, datetime
from leadscore.errors import LeadScoreError
from leadscore.policy.ledger import in_force, publish
from leadscore.policy.policy import Policy

model, how, amount = sys.argv[1], sys.argv[2], int(sys.argv[3])
born = Policy(0.10, 0.30)
if how == "user" and os.getuid() == 0:
    os.setuid(amount)
if how == "size":
    resource.setrlimit(resource.RLIMIT_FSIZE, (amount, amount))
print(in_force(model, born).revision)
try:
    publish(model, Policy(0.5, 0.6), expected=4, born=born, author="ben", reason="why",
            at=datetime(2026, 5, 4, tzinfo=UTC))
except LeadScoreError as error:
    print(error)
"""
NOBODY = 65_534


def hindered(model, how, amount=0):
    words = [sys.executable, "-c", HINDERED, str(model), how, str(amount)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    assert done.stderr == ""
    return done.stdout.splitlines()


def names(model):
    return sorted(path.name for path in log_of(model).parent.iterdir())


@pytest.fixture
def open_place():
    """Make a place that other users may enter: pytest's own are closed to them."""
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        yield Path(place)


def test_a_folder_that_is_only_to_be_read_is_read_and_not_changed(open_place):
    model = open_place / "demo"
    model.mkdir()
    (model / "manifest.json").write_text("{}")
    for revision in (1, 2, 3):
        put(model, 0.2, expected=revision)
    left = log_of(model).with_name("log.jsonl.new")
    left.write_bytes(b"half a lo")
    for path in log_of(model).parent.iterdir():
        path.chmod(0o444)
    log_of(model).parent.chmod(0o555)
    before = log_of(model).read_bytes()
    revision, refused = hindered(model, "user", NOBODY)
    assert revision == "4"
    assert refused == (
        "expected to write in 'demo.policy'; found Permission denied; mend that and publish again; "
        "nothing has changed"
    )
    assert log_of(model).read_bytes() == before
    log_of(model).parent.chmod(0o755)


def test_a_log_that_may_not_grow_is_not_changed(published):
    before = log_of(published).read_bytes()
    revision, refused = hindered(published, "size", len(before) + 100)
    assert revision == "4"
    assert "found File too large; mend that and publish again; nothing has changed" in refused
    assert log_of(published).read_bytes() == before
    assert names(published) == ["lock", "log.jsonl"]


@pytest.fixture
def small_disk(tmp_path):
    place = tmp_path / "disk"
    place.mkdir()
    mount = ("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place))
    if shutil.which("mount") is None or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("needs the right to mount a small disk")
    yield place
    subprocess.run(("umount", str(place)), check=True)


def test_a_disk_that_is_really_full_changes_nothing(small_disk):
    model = small_disk / "demo"
    model.mkdir()
    (model / "manifest.json").write_text("{}")
    for revision in (1, 2, 3):
        put(model, 0.2, expected=revision)
    before = log_of(model).read_bytes()
    with contextlib.suppress(OSError), (small_disk / "filler").open("wb") as filler:
        filler.write(bytes(100_000))
    revision, refused = hindered(model, "disk")
    assert revision == "4"
    assert "found No space left on device; mend that and publish again; nothing has changed" in refused
    assert log_of(model).read_bytes() == before
    assert names(model) == ["lock", "log.jsonl"]
    (small_disk / "filler").unlink()
    assert put(model, 0.5, expected=4).policy.revision == 5


def retrained(model, version):
    (model / "manifest.json").write_text(f'{{"format": 1, "trained": {version}}}')


def test_the_log_of_a_model_that_was_replaced_is_set_aside_whole(published):
    assert set_aside(published) is None  # it is this model's
    log = log_of(published).read_bytes()
    first = (published / "manifest.json").read_bytes()
    retrained(published, 2)
    kept = set_aside(published)
    assert kept.read_bytes() == log
    assert in_force(published, BORN) is BORN
    assert set_aside(published) is None
    put(published, 0.25, expected=1)
    (published / "manifest.json").write_bytes(first)  # the first data again make the first model again
    other = set_aside(published)
    assert in_force(published, BORN) is BORN
    put(published, 0.35, expected=1)
    retrained(published, 2)
    assert len({kept, other, set_aside(published)}) == 3
    assert kept.read_bytes() == log
    assert in_force(published, BORN) is BORN


@pytest.mark.parametrize("step", ["rename", "truncate"])
def test_setting_aside_goes_on_where_it_was_cut_off(published, monkeypatch, step):
    log = log_of(published).read_bytes()
    retrained(published, 2)

    def cut_off(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        if step == "rename":
            patched.setattr(Path, "rename", cut_off)
        else:
            patched.setattr(ledger, "_name_model", cut_off)
        set_aside(published)
    with pytest.raises(ModelError, match="published for another model"):  # never the wrong one
        in_force(published, BORN)
    assert set_aside(published).read_bytes() == log
    assert in_force(published, BORN) is BORN


def test_small_drills_of_kills_writers_and_tamperings_find_nothing():
    sizes = ("--kills", "40", "--writers", "6", "--edits", "15", "--tamperings", "140", "--revisions")
    words = [sys.executable, str(BENCHMARKS / "reliability.py"), *sizes]
    memory = {"TMPDIR": "/dev/shm"} if Path("/dev/shm").is_dir() else {}  # a disk may be slow to flush
    done = subprocess.run(words, check=False, capture_output=True, text=True, env=os.environ | memory)
    assert done.returncode == 0, done.stdout + done.stderr
    bars = [line for line in done.stdout.splitlines() if line.endswith((" yes |", " NO |"))]
    assert len(bars) == 12
    assert all(line.endswith(" yes |") for line in bars)
    hits = next(line for line in done.stdout.splitlines() if line.startswith("| at every line |"))
    assert all(int(count) > 0 for count in hits.split("|")[4:-1])  # before a log, half written, renamed
