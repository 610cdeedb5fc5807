"""Scorers on X and y: the served forms (NumPy alone) and the scikit-learn classifiers that fit them."""
