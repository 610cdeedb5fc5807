"""Hazards against closed forms, brute force and Aalen and Johansen's estimator."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from leadscore.models.boosted import HazardScorer


@parametrize_with_checks([HazardScorer()])
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)
