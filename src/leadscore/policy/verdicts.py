"""How lines compare with others, in sentences: more, fewer, or no telling."""

from collections.abc import Sequence

from leadscore.policy.figures import Figure, brief
from leadscore.policy.policy import percent


def against_points(figures: Sequence[Figure], a_week: str) -> str:
    """Say whether the model finds more wins than the points in the same number of leads.

    Examples
    --------
    >>> against_points([Figure("mql - points", "wins_per_week", 1.5, -0.5, 3.5)], " a week")
    'cannot tell these two apart: +1.5 wins a week against the points at the same capacity (-0.5 to +3.5)'
    """
    gain = _found(figures, "mql - points")["wins_per_week"]
    gap = f"{brief(gain.value, '+')} wins{a_week} against the points at the same capacity {_range(gain)}"
    return f"{_word(gain, 'better', 'worse')}: {gap}"


def against_in_force(
    figures: Sequence[Figure], difference: str, leads: str, a_week: str, *, same: bool
) -> str:
    """Say how a line compares with the one in force: by profit where there is money, else by wins.

    Examples
    --------
    >>> wins = Figure("mql - in force", "wins_per_week", 1.5, 0.5, 2.5)
    >>> volume = Figure("mql - in force", "volume_per_week", 9, 8, 10)
    >>> against_in_force([wins, volume], "mql - in force", "MQLs", " a week", same=False)
    'MQLs: better than the policy in force: +1.5 wins a week (+0.5 to +2.5), with +9 leads a week (+8 to +10)'
    """
    if same:
        return f"{leads}: the same leads as with the policy in force"
    found = _found(figures, difference)
    judged, volume = found.get("profit_per_week", found["wins_per_week"]), found["volume_per_week"]
    what = judged.figure.removesuffix("_per_week")
    gap = f"{brief(judged.value, '+')} {what}{a_week} {_range(judged)}"
    verdict = _word(judged, "better than the policy in force", "worse than the policy in force")
    return f"{leads}: {verdict}: {gap}, with {brief(volume.value, '+')} leads{a_week} {_range(volume)}"


def how_sure(between: tuple[float, float], pays: float) -> str:
    """Say how well the best line is known, and from which chance on a lead pays where chances hold.

    Examples
    --------
    >>> how_sure((0.06, 0.11), 0.08)
    'the line with the largest profit lies between 6 % and 11 %: these leads cannot tell those apart; \
where chances hold, a touch pays from 8 %'
    """
    low, high = (percent(line) for line in between)
    known = f"between {low} and {high}: these leads cannot tell those apart" if low != high else f"at {low}"
    pays_from = f"a touch pays from {percent(pays)}" if pays < 1 else "no touch pays"
    return f"the line with the largest profit lies {known}; where chances hold, {pays_from}"


def _found(figures: Sequence[Figure], line: str) -> dict[str, Figure]:
    return {each.figure: each for each in figures if (each.line, each.segment) == (line, None)}


def _word(gap: Figure, better: str, worse: str) -> str:
    if not gap.apart:
        return "cannot tell these two apart"
    return better if gap.low > 0 else worse


def _range(gap: Figure) -> str:
    return f"({brief(gap.low, '+')} to {brief(gap.high, '+')})"
