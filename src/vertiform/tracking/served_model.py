"""The script that MLflow keeps with every model and runs to serve it (models-from-code).

It is copied out of this package and run alone, with the model's own `code/` folder on the path.
"""

from pathlib import Path

import mlflow
from mlflow.pyfunc import PythonModel, PythonModelContext


class ServedModel(PythonModel):
    """Answers with exactly what Predictor says: what is served is what was scored."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the bundle of safetensors and JSON. Called once, before the first request."""
        from vertiform.inference.predictor import Predictor

        self.predictor = Predictor.load(Path(context.artifacts["bundle"]))

    # No hint for what it returns: MLflow would warn about `Any` at every load (packaging.py says
    # what an answer is). The hint of the input is what requests are checked against.
    def predict(self, model_input: list[str]):  # pyrefly: ignore[bad-override]
        """Predict texts; a list of dictionaries."""
        return self.predictor.predict(model_input)


mlflow.models.set_model(ServedModel())
