"""`leadscore ...`: reads the clock, calls the library, prints. No logic."""

from leadscore.cli.commands import main

__all__ = ["main"]
