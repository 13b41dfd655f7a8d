"""What a caller must know of a registered version, read from its own files."""

from pathlib import Path

from vertiform.evaluation.evidence import Signature
from vertiform.files import read_json
from vertiform.tracking.model_files import BUNDLE


def signature_of(folder: Path) -> Signature:
    """Read the signature of the model whose verified files are in `folder`."""
    from mlflow.models import Model

    written = Model.load(str(folder / "MLmodel")).signature
    facts = read_json(folder / BUNDLE / "task.json")
    schemas = written.to_dict() if written is not None else {}
    return Signature(
        inputs=schemas.get("inputs"),
        outputs=schemas.get("outputs"),
        kind=facts["kind"],
        labels=tuple(facts["labels"]),
    )
