"""The only room that imports MLflow: runs, lineage, packaging, registry, receipts."""

import os

# Read by MLflow when it is first imported, so they are set before anything here can import it.
# Whoever sets one in the environment has the last word.
for _name, _value in {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",  # models are safetensors and JSON
    "MLFLOW_TRUNCATE_LONG_VALUES": "false",  # an error is better than a value cut in silence
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # printing belongs to the doors
    "MLFLOW_UV_AUTO_DETECT": "false",  # requirements come from our lock alone
    # MLflow's own: 7 retries of 120 s each, four minutes in which nobody knows what is wrong.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
}.items():
    os.environ.setdefault(_name, _value)
