"""A B2B software company's leads with a known truth: the embedded default, and the oracle of many tests.

Each lead has a fixed *fit* and an *intent* that comes in pulses and fades. Intent and its slower trace,
*momentum*, drive what the lead does; fit and momentum drive the hazard of a win, more so for those who can
decide. So wins come weeks after the first interest, and old activity is worth nothing. Mid-sized companies
fit best. Students, competitors and bots are busy and never buy.
"""

from leadscore.simulate.clock import DAY, NEVER
from leadscore.simulate.tables import CONTRACT, LEAKS
from leadscore.simulate.truth import Truth
from leadscore.simulate.world import World, simulate

__all__ = ["CONTRACT", "DAY", "LEAKS", "NEVER", "Truth", "World", "simulate"]
