"""Reads a configuration file, and says in one line what is wrong with it."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from leadscore.config import sections
from leadscore.config.compiling import compiled
from leadscore.errors import ConfigError, LeadScoreError, explain, nearest, shown
from leadscore.policy.written import Loader, no_yaml
from leadscore.project import Project


def read(path: str | Path) -> Project:
    """Read a project's configuration.

    Parameters
    ----------
    path : path
        A YAML file; the paths in it are relative to its folder.

    Returns
    -------
    Project

    Raises
    ------
    ConfigError
        The file does not exist, is not YAML, or says something unknown; the message names file, key and,
        where there is one, the known key that was probably meant.
    """
    file = Path(path)
    where = shown(file, 300)
    try:
        values = yaml.load(file.read_bytes(), Loader)  # noqa: S506  (a safe loader)
    except OSError as error:
        found = (error.strerror or "none").lower()
        raise ConfigError(explain(f"a configuration file {where}", found, "correct the path")) from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(explain(f"YAML in {where}", no_yaml(error), "correct the file")) from None
    if not isinstance(values, dict):
        found = "one value" if isinstance(values, str | int | float) else sections.described(values)
        raise ConfigError(explain(f"keys and values in {where}", found, "start from one in configs/"))
    filled = {key: value for key, value in values.items() if value is not None}  # a section without lines
    try:
        return compiled(sections.Project.model_validate(filled), file.parent)
    except ValidationError as error:
        raise ConfigError(f"{where}: {_first(error)}") from None
    except LeadScoreError as error:
        raise ConfigError(f"{where}: {error}") from None


def _first(error: ValidationError) -> str:
    """Put the first thing that is wrong in one line: where, what was expected, what was found, what to do."""
    # An unknown key first: it is often the misspelt name of one that seems to be missing.
    wrong = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    *section, last = wrong["loc"] or ("",)
    where, given = sections.place(section if wrong["type"] == "invalid_key" else wrong["loc"]), wrong["input"]
    if wrong["type"] == "missing":
        return explain(where, "none", "add it") + more
    if wrong["type"] == "extra_forbidden":
        known = _known_keys(section)
        near = nearest(str(last), known)
        do = "correct or remove it" if near else f"use one of {', '.join(known)}"
        return explain("known keys", f"{shown(where)!r}{near}", do) + more
    if wrong["type"] == "value_error":
        said = wrong["msg"].removeprefix("Value error, ")
    else:
        words = re.findall("'([^']*)'", wrong["msg"]) if wrong["type"] == "literal_error" else []
        near = nearest(given, words) if isinstance(given, str) else ""
        message = wrong["msg"].removeprefix("Input should be ").split(", unable")[0]
        said = explain(
            _EXPECTED.get(wrong["type"], "{}").format(message), sections.described(given) + near, "correct it"
        )
    return f"{where}: {said}{more}".removeprefix(": ")


_EXPECTED = {  # where pydantic's words are a programmer's
    "dict_type": "keys and values",
    "greater_than": "a number {}",
    "greater_than_equal": "a number {}",
    "invalid_key": "keys that are words (in quotes, if need be)",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "less_than": "a number {}",
    "less_than_equal": "a number {}",
    "list_type": "a list",
    "model_type": "keys and values",
    "path_type": "a path",
    "string_pattern_mismatch": "letters, digits, '.', '_' and '-' only",
    "string_too_long": "one character",
    "string_too_short": "one character",
    "string_type": "text (in quotes, if need be)",
    "too_short": "at least one entry",
}


def _known_keys(location: Sequence[str | int]) -> list[str]:
    section: type[BaseModel] = sections.Project
    for part in location:
        if isinstance(part, str) and part in section.model_fields:
            section = _section_of(section.model_fields[part].annotation)
    return [field.alias or name for name, field in section.model_fields.items()]


def _section_of(annotation: Any) -> type[BaseModel]:
    """Find the section in `X`, `X | None` or `list[X]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(_section_of(part) for part in annotation.__args__ if part is not type(None))
