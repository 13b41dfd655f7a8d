import json
import os
import signal
from pathlib import Path

import pytest

from tests.tracking.examples import LINEAGE, a_run
from vertiform.errors import TrackingError
from vertiform.tracking import following
from vertiform.tracking.journal import Journal
from vertiform.tracking.lineage import Code, DataVersion, Lineage
from vertiform.tracking.run_facts import flatten
from vertiform.tracking.runs import reopened_run, run_id_of, wait_for_runs
from vertiform.tracking.shipping import Shipment


def read(store, run_id):
    return store.client.get_run(run_id)


def artifact(store, run_id, name) -> str:
    uri = read(store, run_id).info.artifact_uri
    return (Path(uri.removeprefix("file://")) / name).read_text(encoding="utf-8")


def fail_after(_):
    1 / 0  # noqa: B018


def test_nested_config_becomes_params_with_dots():
    config = {"optimizer": {"lr": 1e-4, "betas": [0.9, 0.95]}, "start": None, "amp": True}
    assert flatten(config) == {
        "optimizer.lr": "0.0001",
        "optimizer.betas": "[0.9, 0.95]",
        "start": "null",
        "amp": "true",
    }


def test_a_list_of_mappings_is_numbered_and_an_empty_mapping_is_kept():
    assert flatten({"sources": [{"path": "a"}, {"path": "b"}], "none": {}}) == {
        "sources.0.path": "a",
        "sources.1.path": "b",
        "none": "{}",
    }


def test_a_config_of_many_keys_arrives_whole(store):
    with a_run(store, config={f"key_{n}": n for n in range(250)}) as run:
        pass
    assert read(store, run.id).data.params == {f"key_{n}": str(n) for n in range(250)}


def test_a_param_too_long_for_mlflow_is_an_artifact_and_says_so(store):
    with a_run(store, config={"names": {"all": "x" * 7000}}) as run:
        pass
    assert "see the artifact params/names.all.txt" in read(store, run.id).data.params["names.all"]
    assert artifact(store, run.id, "params/names.all.txt") == "x" * 7000


def test_the_composed_config_is_kept_without_passwords(store):
    with a_run(store, config={"uri": "http://ann:secret@host", "depth": 2}) as run:
        pass
    assert artifact(store, run.id, "config.yaml") == "uri: http://***@host\ndepth: 2\n"
    assert read(store, run.id).data.params["uri"] == "http://***@host"


def test_a_child_run_lies_below_its_parent_under_its_own_name(store):
    with (
        a_run(store, "area, four starts") as parent,
        a_run(store, "area from MiniLM", parent=parent) as child,
    ):
        pass
    found = read(store, child.id)
    assert found.info.run_name == "area from MiniLM"
    assert found.data.tags["mlflow.parentRunId"] == parent.id
    assert found.data.tags["vertiform.kind"] == "finetune"


def test_a_run_that_ends_well_is_finished(store):
    with a_run(store) as run:
        run.log_metrics({"test/f1_macro": 0.5})
    assert read(store, run.id).info.status == "FINISHED"
    assert read(store, run.id).data.metrics == {"test/f1_macro": 0.5}


def test_a_run_that_fails_is_failed_and_keeps_its_error_and_points(store):
    with pytest.raises(ZeroDivisionError), a_run(store) as run:
        fail_after(run.log_metrics({"train/loss_nats": 3.0}))
    found = read(store, run.id)
    assert found.info.status == "FAILED"
    assert found.data.tags["vertiform.error"] == "ZeroDivisionError: division by zero"
    assert found.data.metrics == {"train/loss_nats": 3.0}
    assert "1 / 0" in artifact(store, run.id, "error.txt")


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_stopped_is_killed(store, stop):
    with pytest.raises((KeyboardInterrupt, SystemExit)), a_run(store) as run:
        os.kill(os.getpid(), stop)
    assert read(store, run.id).info.status == "KILLED"
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_run_within_an_error_that_is_handled_can_end_well(store):
    try:
        raise ValueError("an earlier start failed")
    except ValueError:
        with a_run(store) as run:
            pass
    assert read(store, run.id).info.status == "FINISHED"


def test_a_run_that_has_ended_takes_more_and_stays_ended(store):
    with a_run(store) as run:
        pass
    with reopened_run(store, run.id) as again:
        again.log_metrics({"test/f1_macro": 0.5})
        again.log_table("evaluation/mistakes", [{"text": "a"}])
    found = read(store, run.id)
    assert (found.info.status, again.name) == ("FINISHED", found.info.run_name)
    assert found.data.metrics == {"test/f1_macro": 0.5}
    assert "text" in artifact(store, run.id, "evaluation/mistakes.json")


def test_an_error_while_adding_to_a_run_is_the_one_that_is_told(store):
    with a_run(store) as run:
        pass
    with pytest.raises(ZeroDivisionError), reopened_run(store, run.id) as again:
        fail_after(again.log_metrics({"test/f1_macro": 0.5}))
    Journal(again.journal.folder).close()  # it was let go of


def test_a_note_is_shown_on_the_page_and_kept_whole(store):
    with a_run(store) as run:
        run.note("# What came out\n" + "x" * 9000)
    shown = read(store, run.id).data.tags["mlflow.note.content"]
    assert shown.startswith("# What came out")
    assert shown.endswith("(whole in note.md)")
    assert len(artifact(store, run.id, "note.md")) > 9000


def test_tables_and_files_are_kept(store, tmp_path):
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots" / "confusion.svg").write_text("<svg/>")
    with a_run(store) as run:
        run.log_table("mistakes", [{"text": "a", "truth": "web"}, {"text": "b", "truth": "cli"}])
        run.log_file(tmp_path / "plots")
        run.log_file(tmp_path / "plots" / "confusion.svg", folder="pictures")
    assert json.loads(artifact(store, run.id, "mistakes.json"))["columns"] == ["text", "truth"]
    assert artifact(store, run.id, "plots/confusion.svg") == "<svg/>"
    assert artifact(store, run.id, "pictures/confusion.svg") == "<svg/>"


def test_lineage_is_on_the_run_as_tags_datasets_and_files(store):
    lineage = Lineage(
        code=Code(commit="c0ffee", branch="main", diff="+ a line", diff_sha256="d1ff"),
        data=(
            DataVersion("data/software/tokens", "ab" * 16 + ".dir", "md5", "tokenize@software", 9),
        ),
        lock_sha256="10c4",
        packages={"torch": "2.13.0"},
        hardware={"cpu": "EPYC"},
        command="vertiform pretrain",
    )
    with a_run(store, lineage=lineage) as run:
        pass
    found = read(store, run.id)
    assert found.data.tags["mlflow.source.git.commit"] == "c0ffee"
    assert found.data.tags["data.data/software/tokens"] == "ab" * 16 + ".dir"
    (dataset,) = found.inputs.dataset_inputs
    assert (dataset.dataset.name, dataset.dataset.digest) == (
        "data/software/tokens",
        "ab" * 16 + ".dir",
    )
    assert artifact(store, run.id, "lineage/uncommitted.diff") == "+ a line"
    assert json.loads(artifact(store, run.id, "lineage/lineage.json"))["lock_sha256"] == "10c4"


def test_a_dataset_on_a_run_opens_with_mlflows_own_functions(store):
    import mlflow.data

    data = (DataVersion("data/software/tokens", "ab" * 16, "md5", "tokenize", 9),)
    with a_run(store, lineage=Lineage(**(vars(LINEAGE) | {"data": data}))) as run:
        pass
    (dataset,) = read(store, run.id).inputs.dataset_inputs
    assert mlflow.data.get_source(dataset).to_dict() == {"uri": "data/software/tokens"}


def test_a_run_that_was_deleted_meanwhile_is_said_and_its_journal_kept(store, caplog, monkeypatch):
    monkeypatch.setattr(following, "SECONDS_IN_TROUBLE", 0.1)
    with a_run(store) as run:
        store.client.delete_run(run.id)  # as somebody may in the UI
        run.log_metrics({"train/loss_nats": 1.0})
    assert f"run {run.id} is deleted" in caplog.text
    assert f"It is kept in {run.journal.folder}; `vertiform sync` sends it" in caplog.text
    store.client.restore_run(run.id)
    shipment = Shipment(store, run.journal.folder)
    shipment.ship(max_seconds=10)
    assert shipment.state.is_ended
    assert read(store, run.id).data.metrics == {"train/loss_nats": 1.0}
    assert read(store, run.id).info.status == "FINISHED"


def test_what_was_added_to_a_deleted_run_is_an_error(store, monkeypatch):
    monkeypatch.setattr(following, "SECONDS_IN_TROUBLE", 0.1)
    with a_run(store) as run:
        pass

    def evaluate():
        with reopened_run(store, run.id) as again:
            store.client.delete_run(run.id)
            again.log_metrics({"test/f1_macro": 0.5})

    with pytest.raises(TrackingError, match=rf"What was added to the run {run.id} is not in"):
        evaluate()


def test_a_score_that_is_computed_again_is_kept_once_and_a_changed_one_too(store):
    with a_run(store) as run:
        pass
    for score in (0.5, 0.5, 0.6):
        with reopened_run(store, run.id) as again:
            again.log_metrics({"test/f1_macro": score})
    values = [p.value for p in store.client.get_metric_history(run.id, "test/f1_macro")]
    assert values == [0.5, 0.6]
    assert read(store, run.id).data.metrics == {"test/f1_macro": 0.6}


def test_a_table_whose_rows_differ_keeps_every_key(store):
    with a_run(store) as run:
        run.log_table("starts", [{"start": "scratch", "val/f1_macro": 0.5}, {"start": "baseline"}])
    kept = json.loads(artifact(store, run.id, "starts.json"))
    assert kept["columns"] == ["start", "val/f1_macro"]
    assert kept["data"] == [["scratch", 0.5], ["baseline", None]]


def test_a_run_may_end_without_waiting_and_be_waited_for_with_others(store):
    names = []
    for name in ("trial 0", "trial 1"):
        with a_run(store, name, in_background=True, waits=False) as run:
            run.log_metrics({"val/f1_macro": 0.5})
        names.append(run.journal_name)
    wait_for_runs(store, names)
    found = [read(store, run_id_of(store, name)) for name in names]
    assert [run.info.status for run in found] == ["FINISHED", "FINISHED"]
    assert [run.data.metrics for run in found] == [{"val/f1_macro": 0.5}] * 2


def test_of_many_runs_that_nobody_takes_only_the_first_is_waited_for(store, monkeypatch, caplog):
    monkeypatch.setattr(following, "ensure_shipper", lambda *_: None)
    monkeypatch.setattr(following, "SECONDS_WITHOUT_PROGRESS", 0.1)
    names = []
    for name in ("trial 0", "trial 1", "trial 2"):
        with a_run(store, name, in_background=True, waits=False) as run:
            pass
        names.append(run.journal_name)
    wait_for_runs(store, names)
    assert "does not have all of the run `" in caplog.text
    assert caplog.text.count("`vertiform sync` sends it") == 1
    assert "Nor are the 2 runs after it waited for" in caplog.text


def test_a_finished_run_is_taken_up_again_where_that_is_asked_for(store):
    ids = []
    for reopens, points in ((False, {"a": 1.0}), (True, {"b": 2.0}), (False, {"c": 3.0})):
        with a_run(store, identity="0" * 64, reopens=reopens) as run:
            run.log_metrics(points)
        ids.append(run.id)
    assert ids[0] == ids[1] != ids[2]
    assert read(store, ids[0]).data.metrics == {"a": 1.0, "b": 2.0}
    assert read(store, ids[0]).info.status == "FINISHED"
