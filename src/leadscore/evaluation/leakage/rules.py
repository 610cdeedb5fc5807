"""The reasons for a verdict, as a table: when each holds, and the sentences that say so."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from leadscore.errors import shown
from leadscore.evaluation.leakage.levels import words
from leadscore.evaluation.leakage.signals import NOTHING, Signals
from leadscore.evaluation.leakage.thresholds import KEPT_UP, THRESHOLDS

Verdict = Literal["block", "suspect", "ok"]

_T: Final = THRESHOLDS
_LEAST_IDS: Final = 100  # so many leads make a number that nearly each has of its own an identifier


@dataclass(frozen=True, slots=True)
class Rule:
    """A reason for a verdict: when it holds, and the sentences that say so. "ok" is only told."""

    verdict: Verdict
    holds: Callable[[Signals], bool]
    says: tuple[Callable[[Signals], str], ...]


def _says_power(s: Signals) -> str:
    if s.distinct < 2:
        return "it is always the same: it tells nothing" if s.share_filled else "it is never filled in"
    if s.power.auc < NOTHING:
        return f"alone it tells nothing to speak of (AUC {s.power.auc:.3f})"
    times = f"{100 * s.power.auc:.0f} times in 100"
    return f"alone it puts a won lead above a lost one {times} (AUC {s.power.auc:.3f})"


def _says_stands_out(s: Signals) -> str:
    return (
        f"it stands out from the other fields (AUC {s.power.auc:.3f} beside a median of {s.usual_auc:.3f}, "
        f"{s.stands_out:.1f} robust standard deviations above it)"
    )


def _says_filled(s: Signals) -> str:
    return (
        f"filled in for {s.share_filled:.1%} of the leads: {s.won_filled:.1%} of those are won, "
        f"{s.won_missing:.1%} of the others, so that being filled in tells by itself (AUC {s.filled.auc:.3f})"
    )


def _says_filled_odds(s: Signals) -> str:
    return f"whether it is filled in all but settles the outcome (odds of {s.filled_odds:,.0f} to 1)"


def _says_value(s: Signals) -> str:
    return (
        f"where it is filled in, its values tell once more (AUC {s.value.auc:.3f}), "
        "as if filled in by someone who saw how the lead went"
    )


def _named(*levels: str) -> str:
    named = [level for level in levels if level]
    return f" ({'; '.join(named)})" if named else ""


def _says_sides(s: Signals) -> str:
    return (
        f"some of its levels settle the outcome both ways, for {s.mostly_won.share:.1%} of the won and "
        f"{s.mostly_lost.share:.1%} of the lost leads{_named(s.mostly_won.named, s.mostly_lost.named)}"
    )


def _says_sure_won(s: Signals) -> str:
    levels = f"levels that are nearly always won{_named(s.sure_won.named)}"
    return f"{s.sure_won.share:.1%} of the won leads lie in {levels}"


def _says_known_early(s: Signals) -> str:
    return f"the youngest leads have those levels {s.known_early:.2f} times as often as the others"


def _says_small_and_sure(s: Signals) -> str:
    return f"{_says_sure_won(s)}: few enough to be a kind of lead that is known from the start"


def _says_mostly_lost(s: Signals) -> str:
    levels = f"levels that are hardly ever won{_named(s.mostly_lost.named)}"
    return f"{s.mostly_lost.share:.1%} of the lost leads lie in {levels}"


def _says_unseen(s: Signals) -> str:
    return (
        f"{s.unseen.share:.1%} of the closed leads have levels that open leads of the same age hardly ever "
        f"have{_named(s.unseen.named)}: written down as leads are closed"
    )


def _says_state(s: Signals) -> str:
    what = "filled in" if s.filling.closed > s.filling.open else "emptied"
    return (
        f"filled in for {s.filling.closed:.1%} of the closed leads and {s.filling.open:.1%} of the open ones "
        f"of the same age: it is {what} as leads are closed"
    )


def _says_rise(s: Signals) -> str:
    return (
        f"filled in for {s.filling.young:.1%} of the youngest third of the open leads and for "
        f"{s.filling.old:.1%} of the oldest: it fills up as leads are worked"
    )


def _says_growth(s: Signals) -> str:
    way = "grows" if s.growth.with_age > 0 else "falls"
    return f"it {way} with the age of open leads (rank correlation {s.growth.with_age:.2f})"


def _says_apart(s: Signals) -> str:
    where = "above" if s.growth.above > 0.5 else "below"
    share = max(s.growth.above, 1 - s.growth.above)
    return (
        f"open leads have it {where} closed ones of the same age {100 * share:.0f} times in 100: "
        "it changes until the closing, or at it"
    )


def _says_changed(s: Signals) -> str:
    return (
        f"it changed for {s.changed_after:.1%} of the closed leads when they were closed or later: "
        f"as it is now it has AUC {s.now_auc:.3f}, as it was when leads are looked at AUC {s.power.auc:.3f}"
    )


def _says_undated(s: Signals) -> str:
    return f"{s.undated:.1%} of the leads have a value but no history of it, and are seen with what it is now"


def _says_calendar(s: Signals) -> str:
    return f"it is a calendar in disguise: it accounts for {s.calendar:.0%} of the order's variance"


def _says_drop(s: Signals) -> str:
    return f"its power falls from AUC {s.power.auc:.3f} to {s.forward_auc:.3f} in later periods"


def _says_in_line(s: Signals) -> str:
    return (
        f"it goes with the order of the leads (rank correlation {s.in_line:.2f}): a place in line, and so a "
        "calendar in disguise"
    )


def _says_unique(s: Signals) -> str:
    return (
        f"nearly every lead has one of its own ({_own(s):,} among {s.filled_rows:,}): an identifier "
        "or free text"
    )


def _says_swing(s: Signals) -> str:
    return (
        f"it is filled in for {s.fill_low:.0%} of the leads in one fifth of the order and for "
        f"{s.fill_high:.0%} in another: how it is filled in has changed"
    )


def _telling_words(s: Signals) -> list[str]:
    return [word for word in words(s.field) if word in KEPT_UP]


def _says_named(s: Signals) -> str:
    return (
        f"its name says {shown(_telling_words(s)[0])!r}, as of fields kept up to date after the start, "
        f"and it tells something (AUC {s.power.auc:.3f})"
    )


def _own(s: Signals) -> int:
    """Count the distinct values, missing not among them."""
    return s.distinct - int(s.share_filled < 1)


def _drop(s: Signals) -> float:
    return 0.0 if s.forward_auc is None else s.power.auc - s.forward_auc


def _is_sure(s: Signals) -> bool:
    return s.sure_won.share >= _T["block_sure_won_parts" if s.binned else "block_sure_won"]


def _is_early(s: Signals) -> bool:
    return s.known_early is not None and s.known_early >= _T["known_early"]


def _is_unique(s: Signals) -> bool:
    return s.filled_rows >= _LEAST_IDS and _own(s) >= _T["nearly_unique"] * s.filled_rows


def _changed(s: Signals) -> bool:
    return s.changed_after >= _T["changed_after"]


RULES: Final = (
    Rule("block", lambda s: s.power.low >= _T["block_power"], (_says_power,)),
    Rule("block", lambda s: s.filled.low >= _T["block_filled"], (_says_filled,)),
    Rule(
        "block",
        lambda s: s.filled.low >= _T["filled_tells"] and s.filled_odds >= _T["block_filled_odds"],
        (_says_filled, _says_filled_odds),
    ),
    Rule(
        "block",
        lambda s: s.filled.low >= _T["filled_tells"] and s.value.low >= _T["block_filled_and_value"],
        (_says_filled, _says_value),
    ),
    Rule(
        "block",
        lambda s: not s.binned and min(s.mostly_won.share, s.mostly_lost.share) >= _T["block_sides"],
        (_says_sides,),
    ),
    Rule("block", lambda s: _is_sure(s) and not _is_early(s), (_says_sure_won,)),
    Rule("block", lambda s: s.unseen.share >= _T["block_unseen"], (_says_unseen,)),
    Rule(
        "block",
        lambda s: (
            abs(s.filling.state_low) >= _T["block_state"]
            and min(s.filling.open, s.filling.closed) <= _T["state_rare"]
        ),
        (_says_state,),
    ),
    Rule("block", lambda s: s.growth.apart >= _T["block_apart"], (_says_apart,)),
    Rule(
        "suspect",
        lambda s: (
            s.forward_auc is not None
            and s.calendar >= _T["calendar_share"]
            and s.power.low >= _T["suspect_calendar"]
            and _drop(s) >= _T["calendar_drop"]
        ),
        (_says_calendar, _says_drop),
    ),
    Rule("suspect", lambda s: s.power.low >= _T["suspect_power"], (_says_power,)),
    Rule("suspect", lambda s: s.filled.low >= _T["suspect_filled"], (_says_filled,)),
    Rule(
        "suspect",
        lambda s: s.filled.low >= _T["filled_tells"] and s.value.low >= _T["suspect_filled_and_value"],
        (_says_filled, _says_value),
    ),
    Rule(
        "suspect",
        lambda s: not s.binned and s.mostly_lost.share >= _T["suspect_mostly_lost"],
        (_says_mostly_lost,),
    ),
    Rule("suspect", lambda s: _is_sure(s) and _is_early(s), (_says_sure_won, _says_known_early)),
    Rule("suspect", lambda s: s.in_line >= _T["suspect_in_line"] and not s.personal, (_says_in_line,)),
    Rule("suspect", lambda s: s.whole and _is_unique(s) and not s.personal, (_says_unique,)),
    Rule("suspect", lambda s: abs(s.filling.state_low) >= _T["suspect_state"], (_says_state,)),
    Rule("suspect", lambda s: s.filling.rise_low >= _T["suspect_rise"], (_says_rise,)),
    Rule(
        "suspect",
        lambda s: (
            abs(s.growth.low) >= _T["suspect_growth"]
            and abs(s.growth.above - 0.5) >= _T["suspect_growth_state"] - 0.5
        ),
        (_says_growth, _says_apart),
    ),
    Rule("suspect", lambda s: s.growth.apart >= _T["suspect_apart"], (_says_apart,)),
    Rule(
        "suspect",
        lambda s: _changed(s) and s.undated >= _T["suspect_undated"],
        (_says_undated, _says_changed),
    ),
    Rule(
        "suspect",
        lambda s: s.stands_out >= _T["suspect_stands_out"] and s.power.low >= _T["suspect_stands_out_power"],
        (_says_stands_out,),
    ),
    Rule("suspect", lambda s: s.fill_high - s.fill_low >= _T["fill_swing"], (_says_swing,)),
    Rule("suspect", lambda s: bool(_telling_words(s)) and s.power.low >= _T["suspect_named"], (_says_named,)),
    Rule("ok", lambda s: s.filled.low >= _T["filled_tells"], (_says_filled,)),
    Rule(
        "ok", lambda s: not s.numeric and 0 < s.sure_won.share < _T["block_sure_won"], (_says_small_and_sure,)
    ),
    Rule("ok", _changed, (_says_changed,)),
    Rule("ok", lambda s: s.calendar >= _T["calendar_share"], (_says_calendar,)),
    Rule("ok", lambda s: _drop(s) >= _T["told_drop"] and s.power.auc >= _T["suspect_named"], (_says_drop,)),
    Rule("ok", _is_unique, (_says_unique,)),
)
"""Gravest first; what is told is in this order."""


def judged(signals: Signals) -> tuple[Verdict, tuple[str, ...]]:
    """Give the gravest verdict that holds and every sentence, its reasons first; the power is always told."""
    fired = [rule for rule in RULES if rule.holds(signals)]
    verdict: Verdict = fired[0].verdict if fired else "ok"
    told = [says(signals) for rule in fired for says in rule.says]
    reasons = sum(len(rule.says) for rule in fired if rule.verdict == verdict != "ok")
    return verdict, tuple(dict.fromkeys([*told[:reasons], _says_power(signals), *told[reasons:]]))
