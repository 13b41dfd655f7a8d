"""vertiform runs, on a real store: the table, its order, its other forms, and what it refuses."""

import csv
import io
import json
import math
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from tests.tracking.breakage import killed_run
from tests.tracking.examples import a_run
from vertiform.cli.main import main
from vertiform.tracking.claims import SEEN_TAG
from vertiform.tracking.shipping import Shipment

ROOT = Path(__file__).parents[2]


@pytest.fixture
def runs(door):
    """Run the verb; give its exit code, what it printed, and its errors."""
    return partial(door, "runs")


@pytest.fixture
def family(project):
    """A parent of two starts, each with a score, and a pretraining run with a loss."""
    with a_run(project, "area: 2 starts", config={"domain": "software"}) as parent:
        for name, score in (("area from scratch", 0.41), ("area from MiniLM", 0.68)):
            with a_run(
                project, name, kind="start", parent=parent, config={"domain": "software"}
            ) as start:
                start.log_metrics({"best/val/f1_macro": score, "val/loss_nats": 1 - score})
    with a_run(project, "biomed", kind="pretrain", config={"domain": "biomed"}) as run:
        run.log_metrics({"val/loss_nats": 3.5})
    return parent.id


def names_in(table):
    return [line[10:].strip().split("  ")[0] for line in table.splitlines()[2:] if line[:1].strip()]


def test_the_latest_come_first_and_a_parent_says_how_many_are_below(family, runs):
    code, table, _ = runs()
    assert code == 0
    assert names_in(table)[:2] == ["biomed", "area: 2 starts (+2)"]
    assert "area from MiniLM" not in table
    assert table.splitlines()[0].split() == [
        *("id", "name", "kind", "state", "started", "duration", "val/loss_nats")
    ]


def test_children_stand_indented_below_their_parents(family, runs):
    _, table, _ = runs("--children")
    assert names_in(table)[1:4] == ["area: 2 starts (+2)", "area from scratch", "area from MiniLM"]
    assert "    area from scratch" in table


def test_sorted_by_a_score_the_highest_comes_first_and_by_a_loss_the_lowest(family, runs):
    _, by_score, _ = runs("--sort", "best/val/f1_macro")
    assert names_in(by_score)[:2] == ["area from MiniLM", "area from scratch"]
    _, by_loss, _ = runs("--sort", "val/loss_nats")
    assert names_in(by_loss)[:3] == ["area from MiniLM", "area from scratch", "biomed"]
    _, worst, _ = runs("--sort", "val/loss_nats", "--reverse", "--limit", "1")
    assert names_in(worst)[0] == "biomed"


def test_conditions_choose_and_the_footer_counts(family, runs):
    _, table, _ = runs("--where", "domain=software", "kind=start", "--limit", "1")
    assert "1 of 2 runs." in table
    assert runs("--where", "domain=legal")[1] == "No run fulfils that.\n"


def test_columns_are_those_asked_for(family, runs):
    _, table, _ = runs("--where", "kind=start", "--columns", "domain", "val/loss_nats")
    assert table.splitlines()[0].split()[-2:] == ["domain", "val/loss_nats"]
    assert "0.320" in table


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--sort", "val/f1_macr"], "did you mean `best/val/f1_macro`?"),
        (["--columns", "domian"], "did you mean `domain`?"),
        (["--where", "val/loss_nats"], "is not a condition"),
        (["--limit", "0"], "would show nothing"),
    ],
)
def test_what_is_not_known_is_answered_with_the_nearest_and_exit_code_2(family, runs, given, said):
    code, shown, error = runs(*given)
    assert (code, shown) == (2, "")
    assert said in error


def test_without_a_store_it_says_what_makes_one(tmp_path, monkeypatch, capsys):
    (tmp_path / "conf").symlink_to(ROOT / "conf")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit_:
        main(["runs"])
    assert exit_.value.code == 2
    assert "There is no MLflow store yet" in capsys.readouterr().err


def test_a_store_without_runs_says_so(runs):
    assert runs()[1] == "There are no runs yet.\n"


def test_json_holds_everything_and_csv_the_table(family, runs):
    listed = json.loads(runs("--sort", "val/loss_nats", "--json")[1])
    assert listed[0]["metrics"]["best/val/f1_macro"] == 0.68
    assert (listed[0]["params"]["domain"], listed[0]["parent_id"]) == ("software", family)
    rows = list(csv.DictReader(io.StringIO(runs("--sort", "val/loss_nats", "--csv")[1])))
    assert [float(row["val/loss_nats"]) for row in rows] == pytest.approx([0.32, 0.59, 3.5])


def test_json_is_json_where_a_metric_is_not_a_number(project, runs):
    with a_run(project) as run:
        run.log_metrics({"val/loss_nats": math.nan})
    assert json.loads(runs("--json")[1])[0]["metrics"] == {"val/loss_nats": "nan"}


def test_a_run_whose_process_is_gone_is_lost_once_it_gave_no_sign_for_long(project, runs):
    """With what the shipper itself writes: the sign comes with the run."""
    folder = killed_run(project, steps=2)
    shipment = Shipment(project, folder)
    shipment.ship(max_seconds=60, is_owner_gone=False)  # as if it were alive
    assert "lost?" not in runs()[1]
    long_ago = f"{time.time() - 120:.0f}"
    project.client.set_tag(shipment.state.run_id, SEEN_TAG, long_ago)
    assert "lost?" in runs()[1]
    shipment.ship(max_seconds=60, is_owner_gone=True)
    _, table, _ = runs()
    assert "lost?" not in table
    assert "killed" in table.lower()


def test_a_lost_run_is_shown_with_what_finishes_it(project, runs):
    tags = {"vertiform.kind": "pretrain", SEEN_TAG: f"{time.time() - 120:.0f}"}
    project.client.create_run(project.experiment_id("software"), run_name="gone", tags=tags)
    _, table, _ = runs()
    assert "lost?" in table
    assert "`vertiform sync` finishes" in table


def test_a_rebuild_sees_what_another_machine_changed(family, project, runs):
    runs()
    project.client.set_tag(family, "vertiform.kind", "renamed")
    assert "1 of 1 run." in runs("--where", "kind=renamed", "--rebuild")[1]


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["runs", "compare"])
def test_help_imports_nothing_heavy(verb):
    code = (
        "import sys\nfrom vertiform.cli.main import main\n"
        f"try: main(['{verb}', '--help'])\nexcept SystemExit: pass\n"
        "heavy = {'mlflow', 'torch', 'plotly', 'numpy', 'hydra', 'pandas'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
