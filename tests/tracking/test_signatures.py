from pathlib import Path

from tests.tracking.examples import logged_model
from vertiform.tracking.signatures import signature_of


def test_a_versions_signature_is_what_mlflow_and_its_bundle_say(store, tmp_path):
    found = signature_of(Path(logged_model(store, tmp_path).location))
    assert "string" in str(found.inputs)
    assert "map" in str(found.outputs)
    assert (found.kind, found.labels) == ("classification", ("cli", "web"))
    assert found == signature_of(Path(logged_model(store, tmp_path, weights=b"new").location))
