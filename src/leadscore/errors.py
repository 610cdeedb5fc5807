"""The errors that people see: one line each, saying what was expected, what was found and the way out."""

import re

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]")


class LeadScoreError(Exception):
    """Anything leadscore refuses to do; its text is one line for a person."""

    exit_code = 1


class DataError(LeadScoreError):
    """A table breaks the contract."""


class LeakageError(LeadScoreError):
    """A field knows the outcome, and the configuration neither excludes nor allows it."""


class ModelError(LeadScoreError):
    """A saved model is altered, incomplete or from another format."""


class UsageError(LeadScoreError):
    """What was asked for cannot be meant."""

    exit_code = 2


class ConfigError(UsageError):
    """A configuration file says something that cannot be read."""


class MissingExtraError(UsageError):
    """An optional library is needed and not installed."""


def explain(expected: str, found: str, do: str) -> str:
    """Build the one line that teaches.

    Examples
    --------
    >>> explain("a column 'lead_id'", "id, name", "name it in the config under leads.lead_id")
    "expected a column 'lead_id'; found id, name; name it in the config under leads.lead_id"
    """
    return f"expected {expected}; found {found}; {do}"


def shown(value: object, limit: int = 60) -> str:
    r"""Make a user's text safe to print: no control characters, no endless lines.

    Examples
    --------
    >>> shown("red \x1b[31malert")
    'red [31malert'
    """
    text = _CONTROL.sub("", str(value))
    return text if len(text) <= limit else text[: limit - 1] + "…"


def nearest(word: str, known: "list[str] | tuple[str, ...]") -> str:
    """Say which known word was probably meant, ready to append to a message; empty when none is near.

    Examples
    --------
    >>> nearest("Tag", ["Tags", "City"])
    " (did you mean 'Tags'?)"
    """
    import difflib

    close = difflib.get_close_matches(word, list(known), n=1)
    return f" (did you mean {shown(close[0])!r}?)" if close else ""
