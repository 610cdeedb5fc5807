import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leadscore.data.contract import Contract
from leadscore.errors import DataError, UsageError
from leadscore.files import write_table
from leadscore.policy.policy import STAGES
from leadscore.policy.previous import NEVER, Earlier, read_earlier, standing_of

CONTRACT = Contract(lead_id="id")
DAY = 86_400_000_000
NOON = 1_740_826_800_000_000  # 2025-03-01T11:00:00Z


def stood(previous, lead_id=(7, 8, 9), when=NOON, contract=CONTRACT):
    return read_earlier(previous, contract, np.array(lead_id), when)


@given(
    rows=st.lists(
        st.tuples(
            st.integers(1, 6),
            st.sampled_from([None, *STAGES]),
            st.one_of(st.none(), st.integers(NOON - 50 * DAY, NOON + 2 * DAY)),
        ),
        max_size=15,
    )
)
def test_it_reads_what_a_loop_over_the_rows_reads(rows):
    table = [
        {
            "lead_id": lead,
            "stage": stage,
            "recycled_at": at and pd.Timestamp(at, unit="us", tz="UTC").isoformat(),
        }
        for lead, stage, at in rows
    ]
    asked = [3, 1, 6, 99]
    expected = []
    for lead in asked:
        place, back = -1, NEVER
        for owner, stage, at in rows:
            if owner == lead and stage is not None:
                place = STAGES.index(stage)
            if owner == lead and at is not None and at < NOON:
                back = max(back, at)
        expected.append((place, back))
    found = stood(table, asked)
    assert list(zip(found.stage.tolist(), found.recycled.tolist(), strict=True)) == expected


@pytest.mark.parametrize("ids", [[7, 8, 9], ["7", "8", "9"]])
@pytest.mark.parametrize("asked", [[9, 7], ["9", "7"]])
def test_ids_are_matched_as_text_and_as_numbers_in_every_form(ids, asked, tmp_path):
    frame = pd.DataFrame(
        {"lead_id": ids, "stage": ["mql", "nurture", "sales_ready"], "score": [1.0, 2.0, 3.0]}
    )
    forms = [
        frame,
        frame.to_dict("records"),
        pa.table(frame),
        write_table(frame, tmp_path / "before.csv"),
        str(write_table(frame, tmp_path / "before.parquet")),
    ]
    for form in forms:
        assert stood(form, asked).stage.tolist() == [3, 2]


def test_an_id_that_a_spreadsheet_would_run_is_matched_as_it_was_written(tmp_path):
    ids = ["=1+1", "+31612345678", "'quoted", "plain"]
    frame = pd.DataFrame({"lead_id": ids, "stage": STAGES})
    assert stood(write_table(frame, tmp_path / "before.csv"), ids).stage.tolist() == [0, 1, 2, 3]


def test_of_several_tables_the_last_stage_and_the_latest_moment_count():
    one = [{"lead_id": 7, "stage": "mql", "recycled_at": "2025-02-20T00:00:00Z"}]
    other = pd.DataFrame({"lead_id": [7, 8], "stage": ["nurture", "mql"]})
    found = stood([one, other])
    assert found.stage.tolist() == [1, 2, -1]
    assert found.recycled.tolist() == [1_740_009_600_000_000, NEVER, NEVER]
    assert stood([other, one]).stage.tolist() == [2, 2, -1]


@pytest.mark.parametrize("nothing", [None, [], pd.DataFrame({"lead_id": [], "stage": []})])
def test_without_a_table_every_lead_is_new(nothing):
    found = stood(nothing)
    assert found.stage.tolist() == [-1, -1, -1]
    assert found.findings == ()


def test_what_does_not_count_is_told():
    strangers = [{"lead_id": 99, "stage": "mql"}]
    assert stood(strangers).findings == (
        "previous: of no lead that is scored, so that all count as new: 1 row left out",
    )
    ahead = [{"lead_id": 7, "stage": "mql", "recycled_at": "2025-03-01T11:00:00Z"}]
    assert stood(ahead).findings == ("previous: times later than the moment: 1 row left out",)
    assert stood(ahead).recycled.tolist() == [NEVER] * 3
    assert stood(ahead, when=None).findings == (
        "previous: times that do not count, as no moment (as_of) is given: 1 row left out",
    )


def test_times_without_a_zone_are_those_of_the_project():
    table = [{"lead_id": 7, "recycled_at": "2025-02-20T01:00:00"}]
    paris = Contract(lead_id="id", timezone="Europe/Paris")
    assert stood(table, contract=paris).recycled[0] == 1_740_009_600_000_000


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ([{"lead_id": 7, "stage": "MQL"}], "found 'MQL' (did you mean 'mql'?) in 1 rows (row 0, for one)"),
        ([{"lead_id": 7, "stage": "Sales ready"}], "did you mean 'sales_ready'?"),
        ([{"lead_id": 7, "stage": "unqualifed"}], "did you mean 'unqualified'?"),
        ([{"lead": 7, "stage": "mql"}], "a column 'lead_id' in the previous table; found lead, stage"),
        ([{"lead_id": 7, "score": 50}], "a column 'stage' in the previous table; found lead_id, score"),
        ([{"lead_id": 7, "recycled_at": "soon"}], "times with their zone in column 'recycled_at'"),
        ([{"lead_id": 7, "recycled_at": "2025-02-20T01:00:00"}], "times with their zone"),
        ("/nowhere/before.csv", "no file at"),
    ],
)
def test_a_table_that_does_not_read_is_refused_in_one_line(table, says):
    with pytest.raises((DataError, UsageError)) as refused:
        stood(table)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_leads_that_are_one_person_stand_where_the_best_of_them_does():
    earlier = Earlier(
        np.array([1, -1, 2]), np.full(3, NEVER), np.array([NOON - 9 * DAY, NOON - 2 * DAY, NEVER])
    )
    standing = standing_of(earlier, np.array([5, 5, 0]), NOON)
    assert standing.stage.tolist() == [1, 1, 2]
    assert standing.recycled[:2].tolist() == [2.0, 2.0]
    assert np.isnan(standing.recycled[2])
