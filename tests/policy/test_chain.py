import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadscore.errors import ModelError
from leadscore.policy.chain import Entry, Log, verified
from leadscore.policy.policy import Policy, Thresholds

BORN = Policy(0.10, 0.30)
MODEL = hashlib.sha256(b"a model").hexdigest()
REGIONAL = Policy(0.2, 0.6, segment="source", segments={"Fair": Thresholds(0.3, 0.7)}, stay=0.8, cool_down=30)


def fields(policy, revision, /, **more):
    values = {
        "policy": policy.to_dict() | {"revision": revision},
        "author": "anna",
        "reason": "too many leads",
        "at": "2026-05-04T12:00:00+00:00",
        "restores": None,
        "effect": None,
    }
    return values | more


def log_of(*entries):
    log = Log(BORN, MODEL)
    for revision, (policy, more) in enumerate(entries, start=2):
        log = log.extended(fields(policy, revision, **more))
    return log


@pytest.fixture(scope="module")
def log():
    effect = {"mqls_a_week": 41.5, "sentence": "41 instead of 52"}
    return log_of((Policy(0.2, 0.6), {}), (REGIONAL, {"effect": effect}), (Policy(0.4, 0.6), {"restores": 2}))


def plain(values):
    return json.dumps(values, sort_keys=True, separators=(",", ":"))


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def chained(entries, previous=MODEL):
    """Write a log from what the format says, without the code that writes it."""
    body = ""
    for values in entries:
        line = values | {"previous": previous}
        previous = digest(plain(line))
        body += plain(line | {"sha256": previous}) + "\n"
    return sealed(body)


def sealed(body):
    return f"{body}{plain({'seal': digest(body)})}\n".encode()


def test_a_log_is_as_its_format_says(log):
    expected = [
        fields(Policy(0.2, 0.6), 2),
        fields(REGIONAL, 3, effect={"sentence": "41 instead of 52", "mqls_a_week": 41.5}),
        fields(Policy(0.4, 0.6), 4, restores=2),
    ]
    assert log.sealed == chained(expected)
    assert verified(chained(expected), BORN, MODEL) == log


def test_each_line_is_json_that_other_tools_can_read(log):
    *lines, seal = (json.loads(line) for line in log.sealed.decode().splitlines())
    assert [line["policy"]["mql"] for line in lines] == [0.2, 0.2, 0.4]
    assert set(seal) == {"seal"}


def test_the_first_logs_which_kept_no_effects_still_read_and_go_on():
    old = [fields(Policy(0.2, 0.6), revision) for revision in (2, 3)]
    for values in old:
        del values["effect"]
        values["policy"]["nurture"] = 0.05
    content = chained(old)
    log = verified(content, BORN, MODEL)
    assert [log.entry(revision).effect for revision in (2, 3)] == [None, None]
    longer = log.extended(fields(REGIONAL, 4, effect={"leads": 7}))
    assert longer.sealed.startswith(content[: content.rindex(b'{"seal"')])
    again = verified(longer.sealed, BORN, MODEL)
    assert again.policy(2).mql == 0.2
    assert again.entry(4).effect == {"leads": 7}
    assert again.policy(4).segments["Fair"] == Thresholds(0.3, 0.7)


texts = st.text(max_size=20)
plain_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
policies = st.builds(
    lambda low, high, stay: Policy(min(low, high), max(low, high), stay=stay),
    st.floats(0, 1),
    st.floats(0, 1),
    st.floats(0.1, 1),
)


@given(
    st.lists(st.tuples(policies, texts, texts, st.none() | st.dictionaries(texts, plain_values)), max_size=4)
)
def test_what_is_published_is_what_is_read(published):
    log = log_of(*((p, {"author": a, "reason": r, "effect": e}) for p, a, r, e in published))
    read = verified(log.sealed, BORN, MODEL) if published else log
    assert read == log
    assert read.policy(1) is BORN
    for revision, (policy, author, reason, effect) in enumerate(published, start=2):
        entry = read.entry(revision)
        assert entry.policy.to_dict() == policy.to_dict() | {"revision": revision}
        assert (entry.author, entry.reason, entry.effect) == (author, reason, effect)
        assert entry.to_dict() == read.lines[revision - 2]


def flips(content):
    for at in range(len(content)):
        for bit in range(8):
            yield content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :]


def test_every_flip_of_one_bit_is_noticed(log):
    for altered in flips(log.sealed):
        with pytest.raises(ModelError):
            verified(altered, BORN, MODEL)


def test_every_flip_of_one_bit_is_noticed_by_the_chain_when_the_seal_is_made_anew(log):
    for altered in flips(log.body):
        with pytest.raises(ModelError):
            verified(
                altered + plain({"seal": hashlib.sha256(altered).hexdigest()}).encode() + b"\n", BORN, MODEL
            )


def test_every_cut_is_noticed(log):
    for at in range(len(log.sealed)):
        with pytest.raises(ModelError):
            verified(log.sealed[:at], BORN, MODEL)


@pytest.mark.parametrize("content", [b"", b"\n", b"null\n", b"[" * 100_000, b"\xff\xfe", b"{}\n{}\n"])
def test_what_is_no_log_is_refused(content):
    with pytest.raises(ModelError):
        verified(content, BORN, MODEL)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ({}, "line 2 is no entry"),
        ([], "line 2 is no entry"),
        (fields(Policy(0.2, 0.6), 3) | {"policy": "mql"}, "line 2 is no entry"),
        (fields(Policy(0.2, 0.6), 4), "line 2 skips a revision"),
        (fields(Policy(0.2, 0.6), 2), "line 2 skips a revision"),
    ],
)
def test_a_line_that_is_no_entry_is_refused_even_when_it_is_sealed(line, says):
    first = fields(Policy(0.2, 0.6), 2)
    if isinstance(line, dict) and line:
        content = chained([first, line])
    else:
        body = chained([first]).decode().splitlines(keepends=True)[0] + plain(line) + "\n"
        content = sealed(body)
    with pytest.raises(ModelError, match=says):
        verified(content, BORN, MODEL)


@pytest.mark.parametrize(
    "more",
    [
        {"author": 7},
        {"restores": "2"},
        {"effect": [1]},
        {"further": 1},
        {"policy": {"revision": 2, "mql": 40, "sales_ready": 0.5}},
    ],
)
def test_an_entry_that_nobody_published_is_refused_even_in_a_chain(more):
    log = verified(chained([fields(Policy(0.2, 0.6), 2, **more)]), BORN, MODEL)
    with pytest.raises(ModelError, match="line 1 is no entry"):
        log.policy(2)


def test_a_chain_made_anew_holds_no_digest_of_the_old_one(log):
    kept = log.entry(3).sha256
    longer = log.extended(fields(Policy(0.5, 0.6), 5))
    assert log.holds(kept)
    assert longer.holds(kept.upper())
    anew = log_of((Policy(0.2, 0.6), {}), (REGIONAL, {}), (Policy(0.4, 0.6), {"restores": 2}))
    assert not anew.holds(kept)
    assert not Log(BORN, MODEL).holds(kept)


def test_entries_compare_and_hash(log):
    again = verified(log.sealed, BORN, MODEL)
    entries = {again.entry(3), log.entry(3)}
    assert len(entries) == 1
    assert isinstance(entries.pop(), Entry)
