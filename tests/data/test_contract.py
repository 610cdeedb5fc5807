import json

import pytest

from leadscore.data.tables import Contract, EventColumns, OutcomeColumns
from leadscore.errors import ConfigError

FULL = Contract(
    lead_id="id",
    created_at="since",
    order_by="nr",
    target="won",
    won_values=("1", "yes"),
    events=EventColumns(lead_id="who", visitor_id="cookie", value="worth"),
    outcomes=OutcomeColumns(stage="state", stages={"Deal": "won"}),
    outcome_events={"signed": "won"},
    timezone="Europe/Amsterdam",
    delimiter=";",
    missing=("Select",),
    field_missing={"pdays": ("999",)},
    kinds={"age": "number"},
    ignore=("note",),
)


def test_a_contract_survives_json():
    assert Contract.from_dict(json.loads(json.dumps(FULL.to_dict()))) == FULL


def test_every_field_of_the_contract_is_saved():
    assert set(FULL.to_dict()) == set(Contract.__slots__)


def test_event_columns_say_which_column_holds_what():
    assert FULL.event_columns == {
        "occurred_at": "occurred_at",
        "event_type": "event_type",
        "lead_id": "who",
        "visitor_id": "cookie",
        "value": "worth",
    }
    assert Contract(lead_id="id").event_columns["lead_id"] == "id"


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"lead_id": "id", "tagret": "won"}, "did you mean 'target'"),
        ({"lead_id": "id", "events": {"occured_at": "t"}}, "events.occured_at (did you mean 'occurred_at'?)"),
        ({"lead_id": "id", "events": ["t"]}, "expected values by name in events; found list"),
        ({}, "expected lead_id; found none"),
        ({"lead_id": 5}, "expected a text in lead_id; found int"),
        ({"lead_id": "id", "missing": "Select"}, "expected a list of texts in missing; found str"),
        ({"lead_id": "id", "field_missing": {"a": [9]}}, "lists of texts by name in field_missing"),
        ({"lead_id": "id", "event_log": "yes"}, "expected true or false in event_log"),
        ({"lead_id": "id", "kinds": {"age": "numbr"}}, "did you mean 'number'"),
        ({"lead_id": "id", "outcome_events": {"x": "win"}}, "won"),
        ({"lead_id": "id", "outcomes": {"stages": {"Deal": "wonn"}}}, "did you mean 'won'"),
        ({"lead_id": "id", "target": "won"}, "won_values"),
        ({"lead_id": "id", "event_log": True}, "events beside event_log"),
        ({"lead_id": "id", "event_log": True, "events": {}, "order_by": "nr"}, "belong to a wide table"),
        ({"lead_id": "id", "timezone": "Europe/Atlantis"}, "a time zone"),
        ({"lead_id": "id", "timezone": "../../etc/passwd"}, "a time zone"),
        ({"lead_id": "id", "delimiter": ";;"}, "one character as delimiter"),
    ],
)
def test_a_contract_that_cannot_be_meant_is_refused(values, says):
    with pytest.raises(ConfigError) as error:
        Contract.from_dict(values)
    assert says in str(error.value)
    assert "\n" not in str(error.value)
