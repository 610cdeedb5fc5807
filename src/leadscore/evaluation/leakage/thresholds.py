"""Every threshold of the audit, and the words that are hints, in one place."""

from collections.abc import Mapping
from typing import Final

THRESHOLDS: Final[Mapping[str, float]] = {
    # powers are AUCs out of fold, taken at the lower end of their 95 % interval
    "block_power": 0.85,  # the best honest single fields of real lead tables reach 0.76
    "block_filled": 0.75,  # being filled in, whatever the value; interested leads filling a form reach 0.65
    "block_filled_odds": 50.0,  # odds of winning, filled in against missing, or the other way round
    "block_filled_and_value": 0.80,  # its values where filled in, when being filled in tells as well:
    "filled_tells": 0.60,  # ... from here on
    "block_sides": 0.05,  # share of the won, and of the lost, whose level all but settles the outcome
    "block_sure_won": 0.10,  # share of the won whose level is nearly always won
    "block_sure_won_parts": 0.30,  # ... for parts of the range of a number of many values
    "block_unseen": 0.10,  # share of the closed leads whose level open leads of the same age hardly have
    "block_state": 0.50,  # difference in being filled in between open and closed leads of the same age,
    "state_rare": 0.05,  # ... where one of the two is hardly ever filled in
    "block_apart": 0.95,  # AUC of a number that tells open leads from closed ones of the same age
    "suspect_power": 0.75,
    "suspect_filled": 0.70,
    "suspect_filled_and_value": 0.65,
    "suspect_mostly_lost": 0.10,
    "suspect_stands_out": 3.5,  # robust standard deviations above the median power of the fields,
    "suspect_stands_out_power": 0.70,  # ... from this power on
    "suspect_state": 0.25,  # difference in being filled in between open and closed leads of the same age
    "suspect_rise": 0.25,  # ... and between the oldest and the youngest third of the open leads
    "suspect_growth": 0.40,  # rank correlation of a number with the age of open leads, where it also
    "suspect_growth_state": 0.65,  # ... tells open leads from closed ones of the same age (AUC)
    "suspect_apart": 0.80,  # ... by this much, whatever its growth
    "suspect_undated": 0.05,  # share of the leads with a value and no history, where others change afterwards
    "suspect_named": 0.53,  # power from which a name such as "last activity" is worth a question
    "suspect_calendar": 0.60,  # power from which a field that follows the calendar is worth a question
    "suspect_in_line": 0.95,  # rank correlation with the order from which a number is a place in line
    # what the words above mean
    "settled_odds": 10.0,  # a level settles the outcome when it multiplies or divides the odds by this
    "sure_won": 0.90,  # a level is nearly always won from this share on,
    "sure_odds": 50.0,  # ... when it also multiplies the odds by this
    "known_early": 0.50,  # the youngest leads have a level so often, against the others: it is known early
    "unseen": 20.0,  # open leads have a level this many times more rarely than closed ones of the same age
    "calendar_share": 0.50,  # share of the order's variance that the field explains
    "calendar_drop": 0.10,  # loss of power in later periods
    "told_drop": 0.05,  # ... from which it is told of any field
    "fill_swing": 0.50,  # between fifths of the order
    "nearly_unique": 0.95,  # distinct values a filled lead, from which a field is an identifier
    "changed_after": 0.05,  # share of the closed leads whose value changes at the closing or later
    "level_rows": 20,  # a level is looked at, and named, from so many leads on
    "named_levels": 20,  # ... in fields of at most so many levels
    "least_fields": 5,  # so many fields with power make a field that stands out
}
"""Every threshold of the audit."""

KEPT_UP: Final = frozenset(
    {
        "last",
        "latest",
        "final",
        "closed",
        "closing",
        "won",
        "lost",
        "outcome",
        "result",
        "status",
        "stage",
        "disposition",
        "quality",
        "grade",
        "rating",
        "score",
        "index",
        "tag",
        "tags",
        "reason",
        "revenue",
        "invoice",
        "contract",
        "deal",
        "updated",
        "modified",
        "duration",
    }
)
"""Words in a field's name that say it is kept up to date, or written down at the end."""

PERSONAL: Final = frozenset(
    {
        "owner",
        "rep",
        "agent",
        "name",
        "names",
        "contact",
        "user",
        "person",
        "people",
        "assigned",
        "assignee",
        "employee",
        "seller",
        "salesperson",
        "manager",
        "advisor",
        "author",
        "creator",
        "email",
        "mail",
        "phone",
        "mobile",
        "telephone",
        "fax",
        "address",
    }
)
"""Words in a field's name that say it may hold names of people: its levels are counted, never named."""
