"""params.yaml has three readers; these tests hold their readings together."""

from pathlib import Path

import yaml

from vertiform.params import read_params

PARAMS = Path(__file__).parents[2] / "params.yaml"


def test_pyyaml_and_omegaconf_read_params_alike():
    assert yaml.safe_load(PARAMS.read_text()) == read_params(PARAMS)


def test_params_hold_no_interpolation():
    # DVC hands ${...} on unresolved, and the shell then makes it empty.
    assert "${" not in PARAMS.read_text()
