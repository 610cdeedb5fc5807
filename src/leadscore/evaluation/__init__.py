"""Is it true, and is it better than the points: splits, metrics, comparison, leakage."""
