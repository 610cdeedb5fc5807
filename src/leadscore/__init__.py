"""Lead scoring with calibrated probabilities, exact reasons and thresholds you can preview and undo."""

__version__ = "0.1.0"
