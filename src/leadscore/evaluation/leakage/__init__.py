"""Leakage: which fields know the outcome too well to have been known before it."""

from leadscore.evaluation.leakage.auditing import Audit, FieldAudit, audit, calendar_share
from leadscore.evaluation.leakage.rules import Verdict
from leadscore.evaluation.leakage.thresholds import THRESHOLDS
from leadscore.evaluation.leakage.worked import Dated, Worked

__all__ = ["THRESHOLDS", "Audit", "Dated", "FieldAudit", "Verdict", "Worked", "audit", "calendar_share"]
