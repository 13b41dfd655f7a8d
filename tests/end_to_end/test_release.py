"""The whole way on a tiny corpus: real DVC, real training, real MLflow, gates that say no."""

import json
import socket
import sqlite3
import time
import urllib.error
import urllib.request
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from tests.end_to_end.workspace import LENIENT, make_workspace, run, start

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def released(tmp_path_factory) -> Path:
    """A workspace in which `dvc repro` has run once, and one gate has said no."""
    folder = make_workspace(tmp_path_factory.mktemp("release") / "work")
    first = run(folder, "dvc", "repro", "--keep-going")
    (folder / "first.log").write_text(first.stdout + first.stderr)
    return folder


def edit(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def stages_run(output: str) -> list[str]:
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]


def answer_of(address: str, *, within_seconds: float) -> bytes:
    """What a server says, once it is up."""
    end = time.monotonic() + within_seconds
    while True:
        try:
            with urllib.request.urlopen(address, timeout=5) as answer:
                return answer.read()
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


def aliases(folder: Path) -> dict[str, dict[str, int]]:
    with closing(sqlite3.connect(folder / "mlflow.db")) as store:
        rows = store.execute("SELECT name, alias, version FROM registered_model_aliases").fetchall()
    found: dict[str, dict[str, int]] = {}
    for name, alias, version in rows:
        found.setdefault(name, {})[alias] = int(version)
    return found


def files_sha256(folder: Path, name: str, *, version: int) -> str:
    with closing(sqlite3.connect(folder / "mlflow.db")) as store:
        (found,) = store.execute(
            "SELECT value FROM model_version_tags WHERE name = ? AND version = ? AND key = ?",
            (name, version, "files.sha256"),
        ).fetchone()
    return found


def test_a_model_that_passes_every_gate_stands_at_staging(released):
    assert aliases(released)["tiny-names"] == {"candidate": 1, "staging": 1}, (
        released / "first.log"
    ).read_text()


def test_a_gate_that_says_no_keeps_the_alias_and_says_why(released):
    log = (released / "first.log").read_text()
    assert aliases(released)["tiny-topic"] == {"candidate": 1}
    assert "better_than_baseline" in log
    assert "failed to reproduce 'promote@topic'" in log
    history = run(released, "vertiform", "history", "tiny-topic", check=True).stdout
    assert "refused by better_than_baseline" in history


def test_every_data_stage_left_a_report_with_counts(released):
    for stage in ("collect", "clean", "dedup", "label", "tokenize"):
        assert json.loads((released / f"reports/tiny/{stage}.json").read_text())["summary"]


def test_the_receipt_and_the_run_lead_to_each_other(released):
    receipt = json.loads((released / "reports/tiny/finetune/names.json").read_text())
    with closing(sqlite3.connect(released / "mlflow.db")) as store:
        tags = dict(
            store.execute("SELECT key, value FROM tags WHERE run_uuid = ?", (receipt["run_id"],))
        )
        metrics = {
            row[0]
            for row in store.execute(
                "SELECT key FROM latest_metrics WHERE run_uuid = ?", (receipt["run_id"],)
            )
        }
    lock = yaml.safe_load((released / "dvc.lock").read_text())
    written = {out["path"]: out["md5"] for out in lock["stages"]["label@tiny"]["outs"]}
    assert tags["data.data/tiny/tasks"] == written["data/tiny/tasks"]
    assert tags["mlflow.source.git.commit"]
    assert {"best/val/entity_f1", "test/entity_f1", "train/loss_nats"} <= metrics


def test_every_training_run_has_a_note_that_says_how_to_go_on(released):
    with closing(sqlite3.connect(released / "mlflow.db")) as store:
        kinds = dict(store.execute("SELECT run_uuid, value FROM tags WHERE key = 'vertiform.kind'"))
        notes = dict(
            store.execute("SELECT run_uuid, value FROM tags WHERE key = 'mlflow.note.content'")
        )
    assert {"pretrain", "finetune", "start", "baseline"} <= set(kinds.values())
    for run_id, kind in kinds.items():
        note = notes[run_id]
        assert "How to go on" in note or "## Intended use" in note, kind  # register's: the card


def test_predict_asks_the_model_at_staging(released):
    answer = run(
        released, "vertiform", "predict", "tiny-names", "--json", "Ada holds the rope", check=True
    )
    assert json.loads(answer.stdout)["text"] == "Ada holds the rope"


def test_the_report_tells_starts_scores_and_where_the_model_stands(released):
    shown = run(released, "vertiform", "report", check=True).stdout
    for name in ("baseline", "scratch", "domain"):
        assert f" {name} " in shown
    assert "staging, version 1" in shown
    assert "not promoted" in shown
    assert "make ui" in shown


def test_a_model_promoted_by_hand_is_held_against_who_stands_there_and_rolled_back(released):
    """Version 2 is the same model again: not worse than version 1, so it may follow it."""
    run(
        released,
        "vertiform",
        "register",
        "domain=tiny",
        "task=entities",
        "task.name=names",
        check=True,
    )
    receipt = released / "reports/tiny/register/names.json"
    kept = receipt.read_text()
    second = json.loads(kept) | {"version": 2}
    second["facts"]["files_sha256"] = files_sha256(released, "tiny-names", version=2)
    receipt.write_text(json.dumps(second))
    loose = ("gates.floors.entity_f1=0.0", "~gates.better_than_baseline", *LENIENT)
    moved = run(released, "vertiform", "promote", "tiny-names", *loose, check=True).stdout
    receipt.write_text(kept)
    assert "not worse than version 1" in moved
    assert aliases(released)["tiny-names"] == {"candidate": 2, "staging": 2, "previous-staging": 1}

    reason = ("--reason", "it was slower")
    run(released, "vertiform", "rollback", "tiny-names@staging", *reason, check=True)
    assert aliases(released)["tiny-names"]["staging"] == 1
    history = run(released, "vertiform", "history", "tiny-names", check=True).stdout
    assert [word for word in history.split() if word in ("moved", "rolled")] == [
        *("moved", "moved", "rolled"),
    ]
    assert "it was slower" in history


def test_production_asks_more_than_staging_and_a_no_is_exit_code_1(released):
    before = aliases(released)["tiny-names"]
    asked = run(released, "vertiform", "promote", "tiny-names", "--to", "production")
    assert asked.returncode == 1
    assert "`production` said no; it does not move." in asked.stdout
    assert aliases(released)["tiny-names"] == before


def test_a_server_that_is_not_named_is_asked_for(released, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    asked = run(released, "vertiform", "history", "tiny-names", "--tracking", "server")
    assert asked.returncode == 2
    assert "export MLFLOW_TRACKING_URI=" in asked.stderr


def test_the_pages_of_mlflow_show_the_experiments(released):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = start(released, "vertiform", "ui", "--port", str(port))
    try:
        found = json.loads(
            answer_of(
                f"http://127.0.0.1:{port}/api/2.0/mlflow/experiments/search?max_results=10",
                within_seconds=90,
            )
        )
    finally:
        server.terminate()
        server.wait(timeout=30)
    names = {experiment["name"] for experiment in found["experiments"]}
    assert {"tiny-pretrain", "tiny-topic", "tiny-names"} <= names


def test_an_alias_nobody_stands_at_is_two_lines_and_exit_code_2(released):
    asked = run(released, "vertiform", "predict", "tiny-topic", "a ship")
    assert asked.returncode == 2
    assert asked.stderr.startswith("Error: ")
    assert "Fix: " in asked.stderr
    assert "Traceback" not in asked.stderr


def test_only_promotion_runs_again_when_only_a_gate_was_edited(released):
    edit(
        released / "params.yaml",
        "promote: [gates.floors.f1_macro=0.0,",
        "promote: [~gates.better_than_baseline, gates.floors.f1_macro=0.0,",
    )
    again = run(released, "dvc", "repro", check=True)
    assert stages_run(again.stdout) == ["compose", "promote@topic"]
    assert aliases(released)["tiny-topic"] == {"candidate": 1, "staging": 1}


def test_an_edit_that_does_not_reach_a_run_runs_only_compose(released):
    edit(released / "conf/trainer/cpu.yaml", "log_every_steps: 20", "log_every_steps: 10")
    edit(released / "conf/model/encoder_base.yaml", "depth: 12", "depth: 11")
    again = run(released, "dvc", "repro", check=True)
    assert stages_run(again.stdout) == ["compose"]


def test_nothing_to_do_is_said(released):
    assert "up to date" in run(released, "dvc", "repro", check=True).stdout


def test_an_edit_that_reaches_the_run_trains_again(released):
    run(released, "dvc", "repro", check=True)
    edit(released / "conf/optimizer/adamw.yaml", "lr: 0.001", "lr: 0.002")
    run(released, "dvc", "repro", "compose", check=True)
    status = json.loads(run(released, "dvc", "status", "--json", check=True).stdout)
    assert "pretrain" in status
    assert "finetune@names" in status
    assert "tokenize@tiny" not in status
    edit(released / "conf/optimizer/adamw.yaml", "lr: 0.002", "lr: 0.001")
    run(released, "dvc", "repro", "compose", check=True)


def test_the_same_inputs_give_the_same_bytes(released):
    """Data and weights, stage by stage, once more from nothing."""
    before = yaml.safe_load((released / "dvc.lock").read_text())["stages"]
    targets = (
        "collect@tiny",
        "clean@tiny",
        "dedup@tiny",
        "label@tiny",
        "tokenize@tiny",
        "pretrain",
    )
    run(released, "dvc", "repro", "-f", "-s", *targets, check=True)
    after = yaml.safe_load((released / "dvc.lock").read_text())["stages"]
    for stage in targets:
        same = [out for out in before[stage]["outs"] if not out["path"].endswith("pretrain.json")]
        assert same == [
            out for out in after[stage]["outs"] if not out["path"].endswith("pretrain.json")
        ]


def test_a_run_that_is_gone_from_mlflow_names_the_command_that_makes_it_again(released):
    receipt = json.loads((released / "reports/tiny/finetune/names.json").read_text())
    receipt["run_id"] = "0" * 32
    (released / "reports/tiny/finetune/names.json").write_text(json.dumps(receipt))
    asked = run(
        released, "vertiform", "evaluate", "domain=tiny", "task=entities", "task.name=names"
    )
    assert asked.returncode == 2
    assert "dvc repro -f finetune@names" in asked.stderr
