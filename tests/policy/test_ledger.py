import errno
import json
import os
import random
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone

import pytest

from leadscore.errors import ModelError, UsageError
from leadscore.models.conditions import Condition
from leadscore.policy.ledger import history, in_force, publish, undo
from leadscore.policy.policy import Policy
from leadscore.policy.rules import Rule

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


def test_every_change_of_one_byte_is_noticed(published):
    whole = log_of(published).read_bytes()
    rng = random.Random(0)
    for _ in range(300):
        at = rng.randrange(len(whole))
        altered = bytearray(whole)
        altered[at] ^= 1 << rng.randrange(8)
        log_of(published).write_bytes(altered)
        with pytest.raises(ModelError):
            in_force(published, BORN)
    log_of(published).write_bytes(whole)
    assert in_force(published, BORN).mql == 0.4


def test_every_way_to_cut_repeat_or_swap_lines_is_noticed(published):
    lines = log_of(published).read_bytes().splitlines(keepends=True)
    for cut in range(len(lines)):
        log_of(published).write_bytes(b"".join(lines[:cut]))
        assert refuses(published)
        log_of(published).write_bytes(b"".join(lines[:cut] + lines[cut + 1 :]))
        assert refuses(published)
        log_of(published).write_bytes(b"".join([*lines[:cut], lines[cut], *lines[cut:]]))
        assert refuses(published)
    log_of(published).write_bytes(b"".join([lines[1], lines[0], *lines[2:]]))
    assert refuses(published)


def test_bytes_cut_from_the_end_are_noticed(published):
    whole = log_of(published).read_bytes()
    for size in range(0, len(whole), 7):
        log_of(published).write_bytes(whole[:size])
        with pytest.raises(ModelError):
            in_force(published, BORN)


def test_a_line_rewritten_with_its_own_digest_breaks_the_chain(published, tmp_path):
    other = tmp_path / "other" / "demo"
    other.mkdir(parents=True)
    (other / "manifest.json").write_text('{"format": 1}')
    put(other, 0.9 / 2, expected=1)
    lines = log_of(published).read_bytes().splitlines(keepends=True)
    lines[0] = log_of(other).read_bytes().splitlines(keepends=True)[0]
    log_of(published).write_bytes(b"".join(lines))
    assert refuses(published)


@pytest.mark.parametrize("content", [b"", b"\n", b"null\n", b"[" * 100_000, b"\xff\xfe", b"{}\n{}\n"])
def test_what_is_no_log_is_refused(published, content):
    log_of(published).write_bytes(content)
    assert refuses(published)


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


WRITER = """
import sys
from datetime import UTC, datetime
from leadscore.errors import UsageError
from leadscore.policy.ledger import in_force, publish
from leadscore.policy.policy import Policy

model, name, edits = sys.argv[1], sys.argv[2], int(sys.argv[3])
born, done = Policy(0.10, 0.30), 0
while done < edits:
    seen = in_force(model, born).revision
    try:
        entry = publish(model, Policy(0.2, 0.6), expected=seen, born=born, author=name, reason=f"{done}",
                        at=datetime(2026, 5, 4, tzinfo=UTC))
    except UsageError:
        continue
    done += 1
    print(entry.policy.revision, flush=True)
"""


def writer(model, name, edits):
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(model), name, str(edits)], stdout=subprocess.PIPE, text=True
    )


def test_several_writers_each_find_their_edits_exactly_once(model):
    writers = {name: writer(model, name, 10) for name in "abc"}
    acknowledged = {
        name: [int(line) for line in process.communicate()[0].split()] for name, process in writers.items()
    }
    entries = history(model, BORN)
    assert [entry.policy.revision for entry in entries] == list(range(2, 32))
    for name, revisions in acknowledged.items():
        mine = [entry for entry in entries if entry.author == name]
        assert [entry.policy.revision for entry in mine] == revisions
        assert [entry.reason for entry in mine] == [str(number) for number in range(10)]


def test_a_writer_that_is_killed_loses_nothing_it_acknowledged(model):
    for round_ in range(3):
        process = writer(model, f"w{round_}", 10_000)
        seen = [int(process.stdout.readline()) for _ in range(5 + 7 * round_)]
        process.send_signal(signal.SIGKILL)
        seen += [
            int(line) for line in process.communicate()[0].splitlines(keepends=True) if line.endswith("\n")
        ]
        revisions = [entry.policy.revision for entry in history(model, BORN)]
        assert revisions == list(range(2, len(revisions) + 2))
        assert set(seen) <= set(revisions)
        assert revisions[-1] <= seen[-1] + 1
    put(model, 0.5, expected=revisions[-1])
    assert sorted(path.name for path in log_of(model).parent.iterdir()) == ["lock", "log.jsonl"]


def test_each_line_is_json_that_other_tools_can_read(published):
    lines = [json.loads(line) for line in log_of(published).read_text().splitlines()]
    assert [line["policy"]["mql"] for line in lines[:-1]] == [0.2, 0.3, 0.4]
    assert set(lines[-1]) == {"seal"}
