"""The code that MLflow runs to serve a logged model; it only calls `leadscore.predict`."""

import mlflow
import pandas as pd
from mlflow.pyfunc import PythonModel, PythonModelContext

from leadscore.predict import load


class LeadScorePyfunc(PythonModel):  # type: ignore[misc]
    """A saved model under MLflow's interface.

    `predict` takes the leads table; a column `events`, where there is one, holds each lead's events as
    a list of mappings. `params={"as_of": "2025-12-01T00:00:00Z"}` names the moment.
    """

    def load_context(self, context: PythonModelContext) -> None:
        """Load and verify the model directory."""
        self.model = load(context.artifacts["model"])

    def predict(  # the interface is MLflow's
        self,
        context: PythonModelContext,  # noqa: ARG002
        model_input: pd.DataFrame,
        params: dict[str, str] | None = None,
    ) -> pd.DataFrame:
        """Score the leads: the frame that `LeadModel.score` gives."""
        leads, events = model_input, None
        if "events" in model_input:
            leads = model_input.drop(columns="events")
            events = [event for of_one in model_input["events"] for event in of_one]
        return self.model.score(leads, events, (params or {}).get("as_of"))


mlflow.models.set_model(LeadScorePyfunc())
