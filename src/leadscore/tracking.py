"""Keeps a record of a training run in MLflow: parameters, metrics, the frame, figures and the model."""

import math
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leadscore.errors import MissingExtraError, UsageError, explain, shown
from leadscore.evaluation import figures
from leadscore.evaluation.compare import Comparison
from leadscore.evaluation.evidence import Evidence

if TYPE_CHECKING:
    from types import ModuleType

STORE = "sqlite:///mlflow.db"  # MLflow 3 refuses the folder ./mlruns as a tracking store


def require_mlflow() -> "ModuleType":
    """Import MLflow, or say how to get it.

    Raises
    ------
    MissingExtraError
        MLflow is not installed.
    """
    try:
        return import_module("mlflow")
    except ModuleNotFoundError:
        do = "pip install 'leadscore[mlflow]', or pass --no-mlflow"
        raise MissingExtraError(
            explain("MLflow, to keep a record of the run", "none installed", do)
        ) from None


def require_store(experiment: str, uri: str | None = None) -> "ModuleType":
    """Open the tracking store before any work is done, and make the experiment if there is none.

    Parameters
    ----------
    experiment : str
    uri : str, optional
        As for `log_run`.

    Returns
    -------
    module
        MLflow, pointed at the experiment.

    Raises
    ------
    MissingExtraError
        MLflow is not installed.
    UsageError
        The store cannot be used.
    """
    mlflow = require_mlflow()
    store = uri or os.environ.get("MLFLOW_TRACKING_URI") or STORE
    try:
        with _quiet():
            mlflow.set_tracking_uri(store)
            if mlflow.get_experiment_by_name(experiment) is None:
                mlflow.create_experiment(experiment, artifact_location=_artifacts(store))
            mlflow.set_experiment(experiment)
    except Exception as error:  # each kind of store fails in a way of its own
        found = f"{type(error).__name__}: {shown(error, 200)}"
        do = "correct MLFLOW_TRACKING_URI, or pass --no-mlflow"
        raise UsageError(explain("a tracking store that MLflow can use", found, do)) from error
    return mlflow


def record(comparison: Comparison, evidence: Evidence | None = None) -> dict[str, Any]:
    """Give a comparison and what stands beside it as plain values for JSON; what is not defined is None.

    Parameters
    ----------
    comparison : Comparison
    evidence : Evidence, optional

    Returns
    -------
    dict
        chosen, rows, verdicts, reason, evidence (None without) and picks (empty without a backtest).
    """
    told: dict[str, Any] = _finite(
        {
            **comparison.to_dict(),
            "verdicts": comparison.verdicts,
            "reason": comparison.reason,
            "evidence": None if evidence is None else evidence.to_dict(),
            "picks": comparison.picks.to_dict("records"),
        }
    )
    return told


def log_run(
    comparison: Comparison,
    evidence: Evidence | None = None,
    *,
    experiment: str,
    parameters: Mapping[str, Any],
    folder: Path | None = None,
    uri: str | None = None,
) -> str:
    """Log a comparison, and the model directory where there is one, as one MLflow run.

    Nothing of any lead is logged: parameters, figures over all leads, and the model.

    Parameters
    ----------
    comparison : Comparison
    evidence : Evidence, optional
        Logged with it, and its main numbers as metrics.
    experiment : str
        Its name in MLflow.
    parameters : mapping
        Sizes and settings.
    folder : path, optional
        A saved model, logged as a pyfunc model that scores through `leadscore.predict`.
    uri : str, optional
        Of the tracking store; by default MLFLOW_TRACKING_URI, else SQLite in the current folder.

    Returns
    -------
    str
        The run's id.
    """
    mlflow = require_store(experiment, uri)
    with _quiet(), mlflow.start_run() as run:
        mlflow.log_params({**parameters, "chosen": comparison.chosen})
        mlflow.log_metrics(_metrics(comparison))
        mlflow.log_dict(record(comparison, evidence), "comparison.json")
        mlflow.log_text(comparison.rows.to_csv(index=False), "comparison.csv")
        for name, draw in figures.ALL.items():
            mlflow.log_figure(draw(comparison), f"{name}.png")
        if evidence is not None:
            mlflow.log_metrics(_weights(comparison, evidence))
            mlflow.log_figure(figures.promises(evidence.reliability), "promises.png")
        if folder is not None:
            mlflow.pyfunc.log_model(name="model", **as_pyfunc(folder))
    return str(run.info.run_id)


def as_pyfunc(folder: Path) -> dict[str, Any]:
    """Say how MLflow serves a saved model: what its `pyfunc.log_model` and `pyfunc.save_model` take."""
    from mlflow.models import ModelSignature
    from mlflow.types import DataType, ParamSchema, ParamSpec

    # A signature of the columns would drop every other one without a word; the model checks its own.
    as_of = ParamSchema([ParamSpec("as_of", DataType.string, None)])
    return {
        "python_model": str(Path(__file__).with_name("pyfunc.py")),
        "artifacts": {"model": str(folder)},
        "signature": ModelSignature(params=as_of),
        "pip_requirements": ["leadscore"],
    }


def _artifacts(store: str) -> str | None:
    """Keep files beside a SQLite store, where MLflow would put them in whatever folder is the current one."""
    if not store.startswith("sqlite:///"):
        return None
    return (Path(store.removeprefix("sqlite:///")).resolve().parent / "mlartifacts").as_uri()


def _metrics(comparison: Comparison) -> dict[str, float]:
    rows = comparison.rows[comparison.rows["slice"] == "all"]
    names = rows["model"].astype(str) + "." + rows["metric"].astype(str)
    return dict(zip(names, rows["value"].astype(float), strict=True))


def _weights(comparison: Comparison, evidence: Evidence) -> dict[str, float]:
    """Give the main numbers of the evidence, as far as they are defined."""
    held, chosen = evidence.reliability, comparison.chosen
    found = {f"{name}.roc_auc_within": auc for name, auc in evidence.within.items()}
    found |= {
        f"{chosen}.calibration_in_the_large": held.large.value,
        f"{chosen}.calibration_slope": held.slope.value,
        f"{chosen}.calibration_holds": float(held.holds),
    }
    if evidence.optimism is not None:
        one = evidence.optimism
        found[f"{one.model}.optimism"] = one.random - one.forward
    return {name: value for name, value in found.items() if math.isfinite(value)}


def _finite(values: Any) -> Any:
    """Put None for every number that is not finite, which strict JSON cannot hold."""
    if isinstance(values, Mapping):
        return {str(name): _finite(value) for name, value in values.items()}
    if isinstance(values, list | tuple):
        return [_finite(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep MLflow's progress bars, hints and log lines off the user's screen."""
    import logging

    bars = "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"
    before, level = os.environ.get(bars), logging.getLogger("mlflow").level
    os.environ[bars] = "false"
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.getLogger("mlflow").setLevel(level)
        if before is None:
            del os.environ[bars]
        else:
            os.environ[bars] = before
