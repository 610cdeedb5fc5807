import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leadscore.errors import UsageError
from leadscore.models.conditions import Condition
from leadscore.policy.policy import Policy, Thresholds
from leadscore.policy.rules import Rule
from leadscore.policy.written import from_text, read_policy, to_yaml

POLICY = Policy(
    mql=0.10,
    sales_ready=0.30,
    nurture=0.02,
    suppress=(Rule("competitor", (Condition("industry", "is", "Planning Software"),), "builds the same"),),
    fast_track=(Rule("asked for a demo", (Condition("demo_request_count_3d", "at_least", 1),)),),
    revision=3,
    segment="source",
    segments={"Webinar": Thresholds(0.12, 0.4, 0.03)},
    stay=0.8,
    cool_down=14.0,
)
WRITTEN = """\
# Thresholds are chances: 0.1 is 10 %. Rules come first: suppress, then fast_track; all of `when` must hold.
# stay: a lead stays in its stage down to this share of the stage's line. cool_down: days.
revision: 3
nurture: 0.02
mql: 0.1
sales_ready: 0.3
segment: source
segments:
  Webinar:
    nurture: 0.03
    mql: 0.12
    sales_ready: 0.4
stay: 0.8
cool_down: 14.0
suppress:
- name: competitor
  when:
  - column: industry
    is: Planning Software
  reason: builds the same
fast_track:
- name: asked for a demo
  when:
  - column: demo_request_count_3d
    at_least: 1.0
"""

words = st.text(min_size=1, max_size=20).filter(lambda word: bool(word.strip()) and word.isprintable())
conditions = st.one_of(
    st.builds(Condition, words, st.just("is"), st.one_of(words, st.floats(-1e300, 1e300))),
    st.builds(Condition, words, st.sampled_from(["in", "not_in"]), st.lists(words, min_size=1, max_size=4)),
    st.builds(Condition, words, st.sampled_from(["at_least", "below"]), st.floats(-1e300, 1e300)),
    st.builds(Condition, words, st.sampled_from(["missing", "present"])),
)
chances = st.lists(st.floats(0, 1), min_size=3, max_size=3).map(sorted)
thresholds = chances.map(lambda lines: Thresholds(lines[1], lines[2], lines[0]))


@st.composite
def policies(draw):
    base, names = draw(thresholds), draw(st.lists(words, unique=True, max_size=4))
    rules = [
        Rule(name, tuple(draw(st.lists(conditions, min_size=1, max_size=3))), draw(st.none() | words))
        for name in names
    ]
    segments = draw(st.dictionaries(words, thresholds, max_size=3))
    return Policy(
        base.mql,
        base.sales_ready,
        tuple(rules[:2]),
        tuple(rules[2:]),
        base.nurture,
        draw(st.integers(1, 10**6)),
        draw(words) if segments else None,
        segments,
        draw(st.floats(0, 1, exclude_min=True)),
        draw(st.floats(0, 1e6)),
    )


def test_a_policy_reads_as_people_write_it():
    assert to_yaml(POLICY) == WRITTEN
    assert from_text(WRITTEN) == POLICY


@settings(max_examples=300)
@given(policies())
def test_what_is_written_reads_back_to_the_last_bit(policy):
    again = from_text(to_yaml(policy))
    assert again == policy
    assert again.to_dict() == policy.to_dict()
    assert from_text(json.dumps(policy.to_dict(), indent="\t")) == policy


def test_a_file_reads_in_either_form(tmp_path):
    (tmp_path / "policy.yaml").write_text(WRITTEN)
    (tmp_path / "policy.json").write_text("\ufeff" + json.dumps(POLICY.to_dict()))
    assert read_policy(tmp_path / "policy.yaml") == read_policy(tmp_path / "policy.json") == POLICY


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefg", "bcdefgh", strict=True)
)
HOSTILE = {
    "python": (
        "mql: !!python/object/apply:os.system ['touch /tmp/owned']\nsales_ready: 0.3",
        "could not determine",
    ),
    "bomb": (BOMB + "mql: *h\nsales_ready: 0.3", "an alias in line 2"),
    "merge": ("x: &x {mql: 0.1}\n<<: *x\nsales_ready: 0.3", "an alias in line 2"),
    "twice": ("mql: 0.1\nsales_ready: 0.3\nmql: 0.2", "key 'mql' is written twice in line 3"),
    "twice in JSON": ('{"mql": 0.1, "sales_ready": 0.3, "mql": 0.2}', "key 'mql' is written twice"),
    "twice within": (
        "mql: 0.1\nsales_ready: 0.3\nsegment: s\nsegments: {A: {mql: 0.1, mql: 0.2, sales_ready: 1}}",
        "key 'mql' is written twice in line 4",
    ),
    "deep": ("mql: " + "[" * 5000, "lists within lists without end"),
    "deep JSON": ('{"mql": ' + "[" * 100_000, "lists within lists without end"),
    "long": ("# " + "x" * 2**20, "at most 1 MiB"),
    "many keys": ("".join(f"k{i}: 1\n" for i in range(20_000)), "found 'k0'"),
    "no mapping": ("- 0.1\n- 0.3", "a policy as keys and values"),
    "nothing": ("", "a policy as keys and values"),
    "cut": ("mql: [0.1", "line 1"),
    "cut JSON": ('{"mql": 0.1,', "no JSON in line 1"),
    "control": ("mql: 0.1\nsales_ready: \x00", "bytes that are no text"),
    "half a character": (
        '{"mql": 0.1, "sales_ready": 0.3, "suppress": [{"name": "\\ud800", '
        '"when": [{"column": "x", "missing": true}]}]}',
        "half of a character",
    ),
    "huge": ("mql: 0x" + "f" * 5000 + "\nsales_ready: 0.3", "a policy as YAML or JSON"),
    "infinite": ("mql: 0.1\nsales_ready: 0.3\ncool_down: .inf", "cool_down as days"),
    "date": ("mql: 2024-01-01\nsales_ready: 0.3", "mql as a probability"),
    "percent": ("mql: 40\nsales_ready: 0.3", "write 0.4 for 40 %"),
    "list as key": ("? [a]\n: 1", "unhashable key in line 1"),
    "anchor on itself": ("&a\nmql: *a", "an alias in line 2"),
    "yes as level": (
        "mql: 0.1\nsales_ready: 0.3\nsegment: s\nsegments: {yes: {mql: 0.1, sales_ready: 1}}",
        "in quotes",
    ),
}


@pytest.mark.parametrize(("text", "says"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_is_refused_in_one_line_and_at_once(text, says):
    start = time.process_time()
    with pytest.raises(UsageError) as refused:
        from_text(text)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 400
    assert time.process_time() - start < 5


@settings(max_examples=300)
@given(st.text(max_size=200))
def test_any_text_is_a_policy_or_one_line(text):
    try:
        from_text(text)
    except UsageError as error:
        assert "\n" not in str(error)


@settings(max_examples=300)
@given(st.integers(0, len(WRITTEN) - 1), st.characters())
def test_a_slip_of_the_pen_is_a_policy_or_one_line(place, character):
    try:
        from_text(WRITTEN[:place] + character + WRITTEN[place + 1 :])
    except UsageError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "no such file"),
        (b"\xff\xfe\x00", "bytes that are no text"),
        (b"mql: 0.1", "expected 'sales_ready' in a policy"),
        (b"#" * (2**20 + 1), "at most 1 MiB"),
    ],
)
def test_a_file_that_is_no_policy_is_named(content, says, tmp_path):
    path = tmp_path / "draft.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError) as refused:
        read_policy(path)
    assert "draft.yaml" in str(refused.value)
    assert says in str(refused.value)
    with pytest.raises(UsageError, match="is a directory"):
        read_policy(tmp_path)
