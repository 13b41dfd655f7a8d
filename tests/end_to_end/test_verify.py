"""A version is made again from its record: bit for bit, or with what differs named."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.end_to_end.workspace import make_workspace, run
from vertiform.tracking.store import open_store

pytestmark = pytest.mark.slow

MODEL = "tiny-names"
TASKS = "data/tiny/tasks"


@pytest.fixture(scope="module")
def released(tmp_path_factory) -> Path:
    """A workspace with one model at staging. Its commit knows no dvc.lock: that came later."""
    folder = make_workspace(tmp_path_factory.mktemp("verify") / "work")
    run(folder, "dvc", "repro", "promote@names", check=True)
    return folder


def verify(folder: Path, *options: str):
    done = run(folder, "vertiform", "verify", f"models:/{MODEL}@staging", *options)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def verdict(folder: Path) -> dict:
    """The latest verdict, as it stands on the version."""
    client = open_store(None, root=folder).client
    return json.loads(client.get_model_version(MODEL, "1").tags["rebuild.verdict"])


def cache(folder: Path) -> set[Path]:
    return set((folder / ".dvc/cache").rglob("*"))


@contextmanager
def changed_record(
    folder: Path, tag: str, value: str, *, in_lineage: str | None = None
) -> Iterator[None]:
    """Let the run of the version say `value`; in_lineage: also where lineage.json said this."""
    client = open_store(None, root=folder).client
    mlflow_run = client.get_run(client.get_model_version(MODEL, "1").run_id)
    before = mlflow_run.data.tags[tag]
    file = Path(mlflow_run.info.artifact_uri.removeprefix("file://")) / "lineage/lineage.json"
    text = file.read_text()
    client.set_tag(mlflow_run.info.run_id, tag, value)
    if in_lineage is not None:
        assert in_lineage in text
        file.write_text(text.replace(in_lineage, value))
    yield
    client.set_tag(mlflow_run.info.run_id, tag, before)
    file.write_text(text)


def data_digest(folder: Path) -> str:
    receipt = json.loads((folder / "reports/tiny/finetune/names.json").read_text())
    return receipt["data"][TASKS]


def plant_what_nobody_needs(folder: Path) -> tuple[str, Path]:
    """A run and an object in DVC's cache that nothing names."""
    client = open_store(None, root=folder).client
    experiment = client.get_experiment_by_name("tiny-names")
    useless = client.create_run(experiment.experiment_id, start_time=1000).info.run_id
    client.set_terminated(useless, end_time=2000)
    object_ = folder / ".dvc/cache/files/md5/ab" / ("ab" * 15)
    object_.parent.mkdir(exist_ok=True)
    object_.write_text("useless")
    return useless, object_


def test_gc_shows_then_removes_what_nobody_needs_and_nothing_else(released):
    """The rebuild below needs the run, its parent, the pretraining, the data and its cache."""
    useless, object_ = plant_what_nobody_needs(released)
    before = cache(released)
    shown = run(released, "vertiform", "gc", "--keep-days", "0", check=True).stdout
    assert "Nothing was removed" in shown
    assert "an alias reaches it" in shown
    assert "no alias, candidate or recent run needs it" in shown
    assert cache(released) == before
    everything = ("--keep-days", "0", "--versions", "--yes", "--permanently")
    said = run(released, "vertiform", "gc", *everything, check=True).stdout
    assert "1 deleted runs erased" in said
    assert before - cache(released) <= {object_, object_.parent}
    assert not object_.exists()
    client = open_store(None, root=released).client
    experiments = [found.experiment_id for found in client.search_experiments()]
    assert useless not in {found.info.run_id for found in client.search_runs(experiments)}
    again = run(released, "vertiform", "gc", *everything, check=True).stdout
    assert "0 versions and 0 runs deleted" in again
    assert "0 deleted runs erased" in again


def test_a_version_comes_out_bit_for_bit_the_same_and_says_so(released, tmp_path):
    before = cache(released)
    done = verify(released, "--scratch", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Bit for bit the same." in done.stdout
    assert "rebuild: finetune@names" in done.stderr
    kept = verdict(released)
    assert kept["outcome"] == "identical"
    assert kept["where"]["cpu"]
    assert kept["rows"] == []
    assert cache(released) == before  # the training ran, and left nothing in DVC's cache
    assert list(tmp_path.iterdir()) == []  # the scratch folder is gone


def test_data_that_is_not_in_the_cache_is_asked_for(released):
    gone = "ab" * 16 + ".dir"
    with changed_record(released, f"data.{TASKS}", gone, in_lineage=data_digest(released)):
        done = verify(released)
    assert done.returncode == 2
    assert f"does not hold what was recorded of {TASKS}" in done.stderr
    assert "dvc pull" in done.stderr


def test_a_commit_that_is_not_known_here_is_asked_for(released):
    head = run(released, "git", "rev-parse", "HEAD").stdout.strip()
    with changed_record(released, "mlflow.source.git.commit", "f" * 40, in_lineage=head):
        done = verify(released)
    assert done.returncode == 2
    assert "git fetch" in done.stderr


def test_other_data_than_recorded_and_a_changed_tag_of_the_environment_are_named(released):
    """The weights come out the same all the same: then it is the record that is not true."""
    gone = "ab" * 16 + ".dir"
    with (
        changed_record(released, f"data.{TASKS}", gone, in_lineage=data_digest(released)),
        changed_record(released, "package.torch", "9.9.9"),
    ):
        done = verify(released, "--from-raw")
    assert done.returncode == 1, done.stdout + done.stderr
    kept = verdict(released)
    assert kept["outcome"] == "differs"
    told = {row["what"]: row for row in kept["rows"]}
    assert told[f"data.{TASKS}"]["rebuilt"] == data_digest(released)
    torch = next(row for what, row in told.items() if what.startswith("package.torch"))
    assert torch["rebuilt"] == "its tag says 9.9.9"
    assert not [row for row in kept["rows"] if row["kind"] == "weights"]


def test_a_training_that_does_not_repeat_itself_is_seen(released):
    """Planted: a commit whose training is seeded otherwise, under the same configuration."""
    head = run(released, "git", "rev-parse", "HEAD").stdout.strip()
    source = released / "src/vertiform/batches/randomness.py"
    planted = source.read_text().replace("ORDER = 1 ", "ORDER = 9 ")
    assert planted != source.read_text()
    source.write_text(planted)
    commit = ("-c", "user.name=t", "-c", "user.email=t@t", "commit", "-q", "-am", "plant")
    run(released, "git", *commit, check=True)
    other = run(released, "git", "rev-parse", "HEAD").stdout.strip()
    with changed_record(released, "mlflow.source.git.commit", other, in_lineage=head):
        done = verify(released, "--tolerance", "0")
    run(released, "git", "reset", "-q", "--hard", head, check=True)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "It does not come out the same." in done.stdout
    kinds = {row["kind"] for row in verdict(released)["rows"]}
    assert {"weights", "score"} <= kinds
    assert not kinds & {"data", "environment", "hardware", "configuration"}
