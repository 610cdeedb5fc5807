"""The sentence that says why a lead is in its stage."""

import math
from typing import Final, NamedTuple

from leadscore.errors import shown
from leadscore.explain.card import capital
from leadscore.explain.drivers import whole
from leadscore.models.calibration import Scale, log_odds_of
from leadscore.models.matrix import OTHER
from leadscore.policy.policy import STAGES, Policy, days, percent, percents
from leadscore.policy.rules import Rule

_NAMES: Final = {
    "unqualified": "unqualified",
    "nurture": "nurture",
    "mql": "MQL",
    "sales_ready": "sales ready",
}


class Places(NamedTuple):
    """Places in `STAGES`: what a chance reaches, with what it keeps, and with the cool-down."""

    entry: int
    kept: int
    stage: int


def by_rule(policy: Policy, rule: Rule) -> str:
    """Say that a rule decided.

    Examples
    --------
    >>> from leadscore.models.conditions import Condition
    >>> called = Rule("called", (Condition("calls", "at_least", 1),))
    >>> by_rule(Policy(0.1, 0.3, fast_track=(called,)), called)
    'Sales ready by the rule “called”, whatever the chance.'
    """
    stage = "unqualified" if rule in policy.suppress else "sales_ready"
    why = f" ({shown(rule.reason, 200)})" if rule.reason else ""
    return f"{capital(_NAMES[stage])} by the rule “{shown(rule.name)}”{why}, whatever the chance."


def by_chance(
    policy: Policy,
    probability: float,
    level: str | None,
    places: Places,
    recycled: float,
    scale: Scale | None = None,
) -> str:
    """Say what the thresholds decided.

    Parameters
    ----------
    policy : Policy
    probability : float
    level : str or None
        The lead's level of the policy's segment.
    places : Places
        What the thresholds decided.
    recycled : float
        Days since it was given back; nan where it never was.
    scale : Scale, optional
        Speak of the score in place of the chance, where chances are not to be told.

    Returns
    -------
    str

    Examples
    --------
    >>> by_chance(Policy(0.1, 0.3), 0.098, None, Places(1, 1, 1), float("nan"), Scale())
    'Nurture: the score of 49.7 is below the MQL line of 50.'
    """
    own = policy.segments.get(level) if level is not None else None
    lines = (own or policy.thresholds).lines
    whose = "" if own is None else f" for {shown(policy.segment)} {shown(level)}"
    noun, write = ("chance", percents) if scale is None else ("score", _Scores(scale))
    stage = STAGES[places.stage]
    name = capital(_NAMES[stage])
    if places.stage < places.kept:
        (told,) = write(probability)
        left = days(math.ceil(policy.cool_down - recycled))
        told = (
            f"{name}: given back {_ago(recycled)}; with its {noun} of {told} "
            f"{_NAMES[STAGES[places.kept]]} again after {days(policy.cool_down)}, in {left}"
        )
    elif places.kept > places.entry:
        chance, enters, leaves = write(probability, lines[stage], policy.stay * lines[stage])
        told = (
            f"Stays {_NAMES[stage]}: the {noun} of {chance} is below the line of {enters}{whose} at which it "
            f"enters, not below {leaves}, at which it leaves"
        )
    elif stage in ("unqualified", "nurture"):
        above = STAGES[places.stage + 1]
        chance, line = write(probability, lines[above])
        told = f"{name}: the {noun} of {chance} is below the {_NAMES[above]} line of {line}{whose}"
    else:
        chance, line = write(probability, lines[stage])
        told = f"{name}: the {noun} of {chance} is at or above the line of {line}{whose}"
        if stage == "mql":
            begins = lines["sales_ready"]
            told += f"; sales ready begins at {percent(begins) if scale is None else write(begins)[0]}"
    return f"{told}{_of_all(policy, level)}."


def _of_all(policy: Policy, level: str | None) -> str:
    """Say where a lead's segment has no thresholds of its own."""
    if policy.segment is None or level in policy.segments:
        return ""
    segment = shown(policy.segment)
    whose = f"{segment} “{shown(level)}”"
    if level is None:
        whose = f"a lead without {segment}"
    elif level == OTHER:
        whose = f"a rare or new {segment}"
    return f"; {whose} has no thresholds of its own: those of all leads hold"


def _ago(recycled: float) -> str:
    return "less than a day ago" if recycled < 1 else f"{days(math.floor(recycled))} ago"


class _Scores(NamedTuple):
    """Writes probabilities as scores, with as many digits as it takes to tell them apart."""

    scale: Scale

    def __call__(self, *values: float) -> tuple[str, ...]:
        scores = [float(self.scale.score(log_odds_of(value))) for value in values]
        written = tuple(str(whole(score)) for score in scores)
        for digits in range(1, 12):
            if len(set(written)) == len(set(scores)):
                break
            written = tuple(f"{score:.{digits}f}".rstrip("0").rstrip(".") for score in scores)
        return written
