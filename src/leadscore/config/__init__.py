"""Reads `configs/*.yaml` into the library's own values; nothing above sees a config."""

from leadscore.config.reading import read

__all__ = ["read"]
