"""Stages and thresholds: tune, preview, publish, undo."""
