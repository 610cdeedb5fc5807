"""A policy as text that people read and edit: YAML out, YAML or JSON in."""

import json
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from leadscore.errors import LeadScoreError, UsageError, explain, shown
from leadscore.policy.policy import Policy

_LIMIT: Final = 2**20  # bytes: far more than anybody writes by hand
_MERGE: Final = "tag:yaml.org,2002:merge"  # "<<: *other"
_HEAD: Final = """\
# Thresholds are chances: 0.1 is 10 %. Rules come first: suppress, then fast_track; all of `when` must hold.
# stay: a lead stays in its stage down to this share of the stage's line. cool_down: days.
"""


def to_yaml(policy: Policy) -> str:
    """Write a policy so that people can read and edit it; `from_text` reads it back, to the last bit.

    Examples
    --------
    >>> print(to_yaml(Policy(mql=0.1, sales_ready=0.3)).partition("revision")[2])
    : 1
    nurture: 0.025
    mql: 0.1
    sales_ready: 0.3
    stay: 1.0
    cool_down: 0.0
    suppress: []
    fast_track: []
    <BLANKLINE>
    """
    values = policy.to_dict()
    rules = {name: [_without_none(rule) for rule in values.pop(name)] for name in ("suppress", "fast_track")}
    values |= {"stay": policy.stay, "cool_down": policy.cool_down, **rules}
    return _HEAD + yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=100)


def from_text(text: str) -> Policy:
    r"""Read a policy from YAML or JSON.

    Parameters
    ----------
    text : str
        At most 1 MiB; nothing in it can run, repeat itself or hide behind a key that is written twice.

    Returns
    -------
    Policy

    Raises
    ------
    UsageError
        It does not read, or says something that a policy cannot: in one line.

    Examples
    --------
    >>> from_text("mql: 0.1\nsales_ready: 0.3").lines
    {'nurture': 0.025, 'mql': 0.1, 'sales_ready': 0.3}
    """
    if len(text.encode("utf-8", "replace")) > _LIMIT:
        raise UsageError(explain("a policy of at most 1 MiB", f"{len(text):,} characters", "shorten it"))
    try:
        values = _json(text) if text.lstrip().startswith("{") else yaml.load(text, _Plain)  # noqa: S506
        policy = Policy.from_dict(values)
        json.dumps(policy.to_dict(), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise UsageError(explain("names that are text", "half of a character", "write them again")) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UsageError(explain("a policy as YAML or JSON", no_yaml(error), "correct it")) from None
    return policy


def read_policy(path: str | Path) -> Policy:
    """Read a policy from a file, as `from_text`.

    Raises
    ------
    UsageError
        There is no such file, it is no text, or `from_text` refuses it; the message names the file.
    """
    file = Path(path)
    where = shown(file, 300)
    try:
        with file.open("rb") as opened:
            content = opened.read(_LIMIT + 1)
        return from_text(content.decode("utf-8-sig"))
    except OSError as error:
        found = (error.strerror or "none").lower()
        raise UsageError(explain(f"a policy in {where}", found, "correct the path")) from None
    except UnicodeDecodeError:
        found = "bytes that are no text" if len(content) <= _LIMIT else "more than 1 MiB"
        raise UsageError(explain(f"a policy in {where}", found, "write it as UTF-8")) from None
    except LeadScoreError as error:
        raise UsageError(f"{where}: {error}") from None


class Loader(yaml.SafeLoader):
    """The safe loader, but a key written twice is an error instead of the last one winning."""


def _mapping(loader: Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    keys = (key for key, _ in node.value if key.tag != _MERGE)
    _refuse_twice((loader.construct_object(key, deep=True), key.start_mark) for key in keys)
    return loader.construct_mapping(node, deep=True)


Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


class _Plain(Loader):
    """The same without anchors: a few of them can stand for more than a machine can hold."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "an alias", mark)
        return super().compose_node(parent, index)


def no_yaml(error: Exception) -> str:
    """Say where a text is no YAML, and why."""
    mark = getattr(error, "problem_mark", None)
    if mark is not None:
        problem = shown(getattr(error, "problem", None) or "nothing that reads").removeprefix("found ")
        return f"{problem} in line {mark.line + 1}"
    if isinstance(error, RecursionError):
        return "lists within lists without end"
    if isinstance(error, json.JSONDecodeError):
        return f"what is no JSON in line {error.lineno}"
    if isinstance(error, UnicodeDecodeError | yaml.reader.ReaderError):
        return "bytes that are no text"
    return shown(error)


def _json(text: str) -> Any:
    def mapping(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        _refuse_twice((key, None) for key, _ in pairs)
        return dict(pairs)

    return json.loads(text, object_pairs_hook=mapping)


def _refuse_twice(keys: Iterable[tuple[Any, Any]]) -> None:
    seen: set[Any] = set()
    for key, mark in keys:
        if isinstance(key, Hashable):  # other keys are refused when the mapping is made
            if key in seen:
                problem = f"key {shown(key)!r} is written twice"
                raise yaml.constructor.ConstructorError(None, None, problem, mark)
            seen.add(key)


def _without_none(rule: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in rule.items() if value is not None}
