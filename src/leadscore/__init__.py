"""Lead scoring with calibrated probabilities, exact reasons and thresholds you can preview and undo.

Importing this imports nothing heavy: the names below are looked up when they are used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from leadscore.errors import LeadScoreError
    from leadscore.evaluation.compare import compare
    from leadscore.features.snapshot import Snapshot, snapshot, training_snapshot
    from leadscore.models.boosted import BoostedScorer, HazardScorer
    from leadscore.models.estimators import LogisticScorer, PointsClassifier
    from leadscore.policy.policy import Policy
    from leadscore.predict import LeadModel, LeadScore, load

__version__ = "0.1.0"

_HOME = {
    "BoostedScorer": "leadscore.models.boosted",
    "HazardScorer": "leadscore.models.boosted",
    "LeadModel": "leadscore.predict",
    "LeadScore": "leadscore.predict",
    "LeadScoreError": "leadscore.errors",
    "LogisticScorer": "leadscore.models.estimators",
    "PointsClassifier": "leadscore.models.estimators",
    "Policy": "leadscore.policy.policy",
    "Snapshot": "leadscore.features.snapshot",
    "compare": "leadscore.evaluation.compare",
    "load": "leadscore.predict",
    "snapshot": "leadscore.features.snapshot",
    "training_snapshot": "leadscore.features.snapshot",
}

__all__ = [
    "BoostedScorer",
    "HazardScorer",
    "LeadModel",
    "LeadScore",
    "LeadScoreError",
    "LogisticScorer",
    "PointsClassifier",
    "Policy",
    "Snapshot",
    "compare",
    "load",
    "snapshot",
    "training_snapshot",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'leadscore' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
