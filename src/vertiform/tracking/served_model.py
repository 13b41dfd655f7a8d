"""The script that MLflow keeps with every model and runs to serve it (models-from-code).

It is copied out of this package and run alone, with the model's own `code/` folder on the path.
"""

from typing import Any

import mlflow
from mlflow.pyfunc import PythonModel, PythonModelContext


class ServedModel(PythonModel):
    """Answers with exactly what Predictor says: what is served is what was scored."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the bundle of safetensors and JSON. Called once, before the first request."""
        from vertiform.inference.predictor import Predictor

        self.predictor = Predictor.load(context.artifacts["bundle"])

    def predict(  # pyrefly: ignore[bad-override]  # MLflow takes this form too
        self, model_input: list[str]
    ) -> list[dict[str, Any]]:
        """Predict texts. MLflow takes the model's signature from these type hints."""
        return self.predictor.predict(model_input)


mlflow.models.set_model(ServedModel())
