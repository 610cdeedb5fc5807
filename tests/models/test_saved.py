import subprocess
import sys

import pytest

from leadscore.errors import ModelError
from leadscore.models.saved import KINDS, read_scorer


def test_an_unknown_kind_is_refused():
    with pytest.raises(ModelError, match="points, linear, forest"):
        read_scorer("neural", {})


@pytest.mark.parametrize("kind", KINDS)
def test_absent_files_are_refused(kind):
    with pytest.raises(ModelError):
        read_scorer(kind, {})


def test_served_forms_need_neither_scikit_learn_nor_lightgbm():
    code = (
        "import sys; from leadscore.models import saved, calibration, conditions, scorer\n"
        "print(sorted({name.split('.')[0] for name in sys.modules}"
        " & {'sklearn', 'lightgbm', 'scipy', 'matplotlib', 'mlflow', 'shap', 'joblib'}))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
