"""What a team asks for, as one frozen value: where its tables are, what counts, what its points are."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from leadscore.data.tables import Contract
from leadscore.explain.phrases import USUAL, Phrases
from leadscore.features.declare import Feature
from leadscore.features.defaults import Roles
from leadscore.models.points import PointRule
from leadscore.policy.rules import Rule


@dataclass(frozen=True, slots=True)
class Files:
    """Tables as files; in a project that has an event log alone, `events` is the only one."""

    leads: Path | None = None
    events: Path | None = None
    outcomes: Path | None = None
    history: Path | None = None


@dataclass(frozen=True, slots=True)
class SimulatedWorld:
    """Tables simulated in place of files."""

    leads: int = 20_000
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Target:
    """How many leads should become MQLs, so many a week or a share of all, and what a win is worth.

    Parameters
    ----------
    capacity : float, optional
        Leads a week.
    share : float, optional
        Of all leads.
    value, cost, missed_cost : float, optional
        Of a win, of working a lead and of a missed win, in one money.
    segment : str, optional
        A categorical column of X whose levels have thresholds of their own.
    capacities : mapping of str to float
        Leads a week that a team of its own can work, by level of the segment.
    equal_recall : bool
        Or thresholds by level at which the same share of the conversions is found in each.
    """

    capacity: float | None = None
    share: float | None = None
    value: float | None = None
    cost: float | None = None
    missed_cost: float | None = None
    segment: str | None = None
    capacities: Mapping[str, float] = field(default_factory=dict, hash=False)
    equal_recall: bool = False


@dataclass(frozen=True, slots=True)
class Project:
    """A scoring project.

    Parameters
    ----------
    name : str
    contract : Contract
        How the project's own tables read.
    source : Files or SimulatedWorld
    roles : Roles
        Which events are behaviour and which operations, and how fields are read.
    points : tuple of PointRule
        The team's hand-built points, over columns of X.
    asked : tuple of Feature
        The features that points and rules need, whatever else is declared.
    keep_levels : mapping of str to tuple of str
        Words that points and rules name: never pooled as rare.
    exclude, allow : mapping of str to str
        Fields, each with the reason.
    horizon : float or None
        Days; None where outcomes carry no time.
    ages : tuple of float
        Days after creation at which leads are looked at for training.
    split : {"forward", "grouped"} or None
        How models are compared; None: forward where there is an order.
    segment : str or None
        A category whose levels shift and stretch the learned models.
    target : Target
    suppress, fast_track : tuple of Rule
        Of the policy; so are `stay` and `cool_down`.
    phrases : Phrases
        How the team speaks of its fields and events.
    """

    name: str
    contract: Contract
    source: Files | SimulatedWorld
    roles: Roles
    points: tuple[PointRule, ...]
    asked: tuple[Feature, ...] = ()
    keep_levels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    exclude: Mapping[str, str] = field(default_factory=dict)
    allow: Mapping[str, str] = field(default_factory=dict)
    email: tuple[str, ...] = ()
    phone: tuple[str, ...] = ()
    horizon: float | None = None
    ages: tuple[float, ...] = (1.0, 7.0, 14.0, 30.0)
    split: Literal["forward", "grouped"] | None = None
    folds: int = 5
    seed: int = 0
    segment: str | None = None
    target: Target = Target(share=0.2)
    suppress: tuple[Rule, ...] = ()
    fast_track: tuple[Rule, ...] = ()
    stay: float = 1.0
    cool_down: float = 0.0
    phrases: Phrases = USUAL
