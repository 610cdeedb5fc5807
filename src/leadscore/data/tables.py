"""The door: any table in, checked and typed tables out, with a finding for every row that did not fit."""

from leadscore.data.contract import (
    KINDS,
    ROW_NUMBER,
    STAGES,
    Coded,
    Contract,
    EventColumns,
    Events,
    Finding,
    OutcomeColumns,
    Outcomes,
    Tables,
)

__all__ = [
    "KINDS",
    "ROW_NUMBER",
    "STAGES",
    "Coded",
    "Contract",
    "EventColumns",
    "Events",
    "Finding",
    "OutcomeColumns",
    "Outcomes",
    "Tables",
]
