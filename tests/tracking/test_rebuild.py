"""What a rebuild is held against, and what is said of it. The training itself: end_to_end."""

import json
from pathlib import Path

import pytest
import yaml

from tests.tracking.records import FILES, lineage, rebuilt, recorded, recorded_run
from vertiform.errors import TrackingError
from vertiform.tracking.rebuild import _check_starts, _read, unlike_lock
from vertiform.tracking.rebuild_verdict import TAG, as_markdown, compare, keep_verdict
from vertiform.tracking.scratch import Scratch

OTHER = FILES | {"model.safetensors": "99" * 32}


def verdict(made=None, then=None, *, tolerance: float = 0.01):
    return compare(then or recorded(), made or rebuilt(), tolerance=tolerance)


def differences(found) -> dict[str, tuple[str, str]]:
    return {f"{row.kind} {row.what}": (row.recorded, row.rebuilt) for row in found.differences}


def test_equal_files_are_identical():
    found = verdict()
    assert found.outcome == "identical"
    assert found.differences == []
    assert found.largest_score_difference is None


def test_another_environment_or_machine_that_gives_equal_files_is_told_and_identical():
    packages = {"python": "3.12.1", "torch": "2.13.0"}
    hardware = {"device": "cpu", "cpu": "Another", "cores": "8"}
    found = verdict(rebuilt(finetuned=lineage(packages=packages, hardware=hardware)))
    assert found.outcome == "identical"
    assert differences(found) == {
        "environment package.python": ("3.11.7", "3.12.1"),
        "hardware hardware.cpu": ("A processor", "Another"),
        "hardware hardware.cores": ("2", "8"),
    }


def test_what_the_lock_pins_and_is_not_here_is_told():
    found = verdict(rebuilt(lock={"scipy": "1.16.0 / 1.17.0", "torch": "2.13.0 / 2.14.0"}))
    told = {"environment requirements.lock scipy": ("1.16.0", "1.17.0")}
    assert differences(found) == told  # torch is among the packages that the run recorded itself


def test_other_weights_with_the_same_scores_are_within_tolerance():
    scores = {"val/f1_macro": 0.805, "test/f1_macro": 0.7}
    found = verdict(rebuilt(files=OTHER, scores=scores))
    assert found.outcome == "within tolerance"
    assert found.largest_score_difference == pytest.approx(0.005)
    assert list(differences(found)) == ["weights model.safetensors"]


def test_a_score_beyond_the_tolerance_differs_and_is_named():
    scores = {"val/f1_macro": 0.8, "test/f1_macro": 0.72}
    found = verdict(rebuilt(files=OTHER, scores=scores))
    assert found.outcome == "differs"
    assert differences(found)["score test/f1_macro"] == ("0.700000", "0.720000")
    assert verdict(rebuilt(files=OTHER, scores=scores), tolerance=0.05).outcome != "differs"


def test_a_score_that_was_not_measured_again_cannot_be_within_tolerance():
    assert verdict(rebuilt(files=OTHER, scores={"val/f1_macro": 0.8})).outcome == "differs"


@pytest.mark.parametrize(
    ("values", "row"),
    [
        (
            {"data": [lineage()["data"][0] | {"digest": "00" * 16 + ".dir"}]},
            "data data.data/tiny/tasks",
        ),
        (
            {"code": {"commit": "f" * 40, "branch": "main", "diff_sha256": ""}},
            "code mlflow.source.git.commit",
        ),
    ],
)
def test_equal_files_from_other_data_or_code_than_recorded_are_not_the_recorded_model(values, row):
    found = verdict(rebuilt(finetuned=lineage(**values)))
    assert found.outcome == "differs"
    assert row in differences(found)


def test_a_tag_that_contradicts_its_lineage_is_told_and_the_record_not_believed():
    run = recorded_run()
    then = recorded(finetuned=recorded_run(tags={**run.tags, "package.torch": "9.9.9"}))
    found = verdict(then=then)
    assert found.outcome == "differs"
    assert differences(found) == {
        "record package.torch of run 11111111": ("2.13.0", "its tag says 9.9.9")
    }


def test_another_configuration_is_told_but_not_speed_or_place():
    config = {"domain": "tiny", "seed": 2, "trainer": {"threads": 4}, "tracking": {"a": "b"}}
    found = verdict(rebuilt(config=config, files=OTHER))
    told = differences(found)
    assert told["configuration seed"] == ("1", "2")
    assert told["hardware trainer.threads"] == ("1", "4")
    assert "configuration tracking.a" not in told


def test_the_tokens_of_the_pretraining_are_compared_and_its_commit_is_not():
    """It is made again at the commit of the fine-tuning, where DVC left it as it was."""
    tokens = {"path": "data/tiny/tokens", "digest": "1.dir", "algorithm": "md5", "stage": "t@tiny"}
    code = {"commit": "a" * 40, "branch": "main", "diff_sha256": ""}
    then = recorded(pretrained=recorded_run(lineage=lineage(data=[tokens], code=code)))
    made = rebuilt(pretrained=lineage(data=[tokens | {"digest": "2.dir"}]) | {"weights": {}})
    assert differences(verdict(made, then)) == {"data data.data/tiny/tokens": ("1.dir", "2.dir")}


def test_a_verdict_stays_on_the_version_and_whole_with_its_run(shelf):
    version = shelf.next_version()
    found = verdict(rebuilt(files=OTHER, scores={"val/f1_macro": 0.2, "test/f1_macro": 0.1}))
    keep_verdict(shelf.store, recorded(version=version), found)
    client = shelf.store.client
    kept = json.loads(client.get_model_version(version.name, "1").tags[TAG])
    assert kept["outcome"] == "differs"
    assert kept["differences"] == 3
    assert kept["where"]["cpu"] == "A processor"
    assert {"when", "who", "tolerance", "seconds"} <= set(kept)
    names = {file.path for file in client.list_artifacts(version.run_id, "rebuilds")}
    assert {f"rebuilds/{found.id}.json", f"rebuilds/{found.id}.md"} <= names


def test_the_page_of_a_verdict_shows_what_differs_and_counts_what_does_not():
    page = as_markdown(verdict(rebuilt(files=OTHER, scores={})))
    assert "| weights | model.safetensors | 1111111111111111 | 9999999999999999 | no |" in page
    assert "| weights | 1 as recorded |" in page


def test_a_lock_is_held_against_what_is_installed(tmp_path):
    lock = tmp_path / "requirements.lock"
    lock.write_text("# pins\nnumpy==0.0.1\npytest==9.2.0  # ours\nno-such-package==1.0\n")
    unlike = unlike_lock(lock)
    assert unlike["numpy"].startswith("0.0.1 / ")
    assert unlike["no-such-package"] == "1.0 / not installed"
    assert unlike_lock(tmp_path / "none") == {}


def test_a_build_of_its_own_is_the_pinned_version(tmp_path):
    from importlib.metadata import version

    lock = tmp_path / "requirements.lock"
    lock.write_text(f"torch=={version('torch').partition('+')[0]}+cu999\n")
    assert unlike_lock(lock) == {}


def test_a_rebuild_whose_run_left_no_record_says_so(tmp_path):
    scratch = Scratch(tmp_path, tmp_path, tmp_path)
    with pytest.raises(TrackingError, match=r"run abc left no lineage.*\n.*--keep"):
        _read(scratch, "abc", "lineage/lineage.json")


def test_a_start_that_lies_in_mlflow_is_refused(tmp_path):
    write(tmp_path / "pretrain.yaml", {"weights": None})
    starts = {"other": {"weights": "models:/tiny-topic@staging"}}
    write(tmp_path / "finetune-names.yaml", {"starts": starts})
    with pytest.raises(TrackingError, match=r"starts from models:/tiny-topic@staging.*\n.*verify"):
        _check_starts(tmp_path, "names")
    write(tmp_path / "finetune-names.yaml", {"starts": {"scratch": {"weights": "new"}}})
    _check_starts(tmp_path, "names")


def write(path: Path, values: dict) -> None:
    path.write_text(yaml.safe_dump(values))
