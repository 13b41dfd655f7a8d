"""What a version says it was made from, read from a real store."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.tracking.examples import LINEAGE, a_lock, a_run
from tests.tracking.records import TASKS, WEIGHTS
from vertiform.errors import TrackingError
from vertiform.tracking.packaging import log_model
from vertiform.tracking.recorded import dvc_digest, pretraining_run, read_recorded
from vertiform.tracking.registry import register
from vertiform.tracking.starts import log_checkpoint

TAGS = {"receipt": "reports/tiny/finetune/names.json"}


def weights(folder: Path, *, content: str = "weights") -> Path:
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_text(content)
    (folder / "config.json").write_text("{}")
    return folder


def pretrained(store, folder: Path) -> str:
    """A pretraining run that kept the weights in `folder`."""
    with a_run(store, "pretrain", kind="pretrain", experiment="tiny-pretrain") as run:
        log_checkpoint(run, folder, rebuild="dvc repro pretrain")
    return run.id


def a_version(store, folder: Path, *, data=(TASKS,), rebuild="dvc repro -f register@names", **tags):
    bundle = weights(folder / "bundle")
    with a_run(store, lineage=replace(LINEAGE, data=data), config={"domain": "tiny"}) as run:
        run.log_metrics({"best/val/entity_f1": 0.5, "test/entity_f1": 0.4, "train/loss_nats": 1})
        model = log_model(
            run,
            bundle,
            name="tiny-names",
            card="",
            example_inputs=["a"],
            example_predictions=[{"a": 1}],
            lock=a_lock(folder),
            facts={},
            rebuild=rebuild,
        )
    return register(store, "tiny-names", model, card="", rebuild=rebuild, tags={**TAGS, **tags})


def artifact(store, run_id: str, name: str) -> Path:
    return Path(store.client.get_run(run_id).info.artifact_uri.removeprefix("file://")) / name


def test_a_version_says_what_it_was_made_from(store, tmp_path):
    folder = weights(tmp_path / "models", content="pretrained")
    run_id = pretrained(store, folder)
    data = (TASKS, replace(WEIGHTS, digest=dvc_digest(folder)))
    found = read_recorded(store, a_version(store, tmp_path, data=data))
    assert found.task == "names"
    assert found.finetuned.commit == "c0ffee"
    assert found.pretrained is not None
    assert found.pretrained.run_id == run_id
    assert found.scores == {"val/entity_f1": 0.5, "test/entity_f1": 0.4}
    assert set(found.files) == {"model.safetensors", "config.json"}
    assert list(found.finetuned.contradictions()) == []


def test_the_pretraining_run_is_found_by_its_bytes_and_not_by_its_time(store, tmp_path):
    first = weights(tmp_path / "first", content="first")
    wanted = pretrained(store, first)
    pretrained(store, weights(tmp_path / "second", content="second"))
    with a_run(store, "no weights", kind="pretrain"):
        pass
    found = pretraining_run(store, dvc_digest(first))
    assert found is not None
    assert found.info.run_id == wanted


def test_a_checkpoint_that_was_damaged_is_not_taken_for_the_one_recorded(store, tmp_path):
    folder = weights(tmp_path / "models")
    run_id = pretrained(store, folder)
    (artifact(store, run_id, "model") / "model.safetensors").write_text("changed")
    assert pretraining_run(store, dvc_digest(folder)) is None


def test_weights_that_no_run_kept_leave_only_the_way_from_the_raw_text(store, tmp_path):
    version = a_version(store, tmp_path, data=(TASKS, WEIGHTS))
    with pytest.raises(TrackingError, match=r"No run is left .* pretrained .*\n.*--from-raw"):
        read_recorded(store, version)
    assert read_recorded(store, version, needs_pretrained=False).pretrained is None


def test_a_version_whose_run_is_gone_names_the_command_that_makes_it_again(store, tmp_path):
    version = replace(a_version(store, tmp_path), run_id="0" * 32)
    with pytest.raises(TrackingError, match=r"is gone .*\n.*dvc repro -f register@names"):
        read_recorded(store, version)


@pytest.mark.parametrize("file", ["lineage/lineage.json", "config.yaml"])
def test_a_run_that_lost_its_record_says_which_file(store, tmp_path, file):
    version = a_version(store, tmp_path)
    artifact(store, version.run_id, file).unlink()
    with pytest.raises(TrackingError, match=rf"has lost its {file}.*\n.*backup"):
        read_recorded(store, version)


def test_a_version_that_no_stage_made_says_so(store, tmp_path):
    version = a_version(store, tmp_path, rebuild="python train.py")
    with pytest.raises(TrackingError, match=r"which stage made it.*\n.*vertiform register"):
        read_recorded(store, version)


def test_a_tag_that_was_changed_afterwards_contradicts_the_record(store, tmp_path):
    version = a_version(store, tmp_path)
    store.client.set_tag(version.run_id, "package.python", "2.7")
    found = read_recorded(store, version)
    assert list(found.finetuned.contradictions()) == [("package.python", "3.11.7", "2.7")]


def test_the_digest_of_a_folder_is_the_one_dvc_gives_it(tmp_path):
    """As `dvc add` of DVC 3.67 names these two files."""
    folder = weights(tmp_path / "models")
    assert dvc_digest(folder) == "a5befa15e7ce9dc423004df922434dcd.dir"
