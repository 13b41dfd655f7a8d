"""What becomes of each kind of record of a journal in MLflow. Each may come twice without harm.

    create                          a run; found again by a tag if the answer to that was lost
    attach, resumed, end            a run that is there; its state RUNNING once more; its last state
    params, tags, inputs, table     the same in MLflow
    text, file                      an artifact, written whole and read back

The stateful ones, of the first two lines, are applied by shipping.py.
"""

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from vertiform.files import sha256_of
from vertiform.tracking.artifacts import put_artifact
from vertiform.tracking.claims import signs_of
from vertiform.tracking.journal import SPOOL
from vertiform.tracking.limits import PARAMS_PER_BATCH, in_batches
from vertiform.tracking.store import Store

JOURNAL_TAG = "vertiform.journal"  # the key of the journal that a run was made from
TABLES_TAG = "mlflow.loggedArtifacts"  # MLflow's own

Record = Mapping[str, Any]


def create(store: Store, record: Record, *, parent_id: str | None) -> str:
    """Create the run, with its own beginning as start time. Returns its id."""
    tags = {**record["tags"], JOURNAL_TAG: record["key"], **signs_of(record["owner"])}
    if parent_id is not None:
        tags["mlflow.parentRunId"] = parent_id
    experiment_id = store.experiment_id(record["experiment"])
    created = store.client.create_run(
        experiment_id, start_time=record["time_ms"], run_name=record["name"], tags=tags
    )
    return created.info.run_id


def created_before(store: Store, record: Record) -> str | None:
    """Find the run of this journal, if it was created and only the answer got lost."""
    experiments = [e.experiment_id for e in store.client.search_experiments()]
    mine = f"tags.`{JOURNAL_TAG}` = '{record['key']}'"
    found = store.client.search_runs(experiments, mine, max_results=1)
    return found[0].info.run_id if found else None


def _log_params(store: Store, run_id: str, record: Record, folder: Path) -> None:
    from mlflow.entities import Param

    params = [Param(name, value) for name, value in record["params"].items()]
    for batch in in_batches(params, PARAMS_PER_BATCH):
        store.client.log_batch(run_id, params=batch, synchronous=True)


def _set_tags(store: Store, run_id: str, record: Record, folder: Path) -> None:
    from mlflow.entities import RunTag

    tags = [RunTag(name, value) for name, value in record["tags"].items()]
    for batch in in_batches(tags, PARAMS_PER_BATCH):
        store.client.log_batch(run_id, tags=batch, synchronous=True)


def _log_inputs(store: Store, run_id: str, record: Record, folder: Path) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    inputs = [
        DatasetInput(Dataset(**i["dataset"]), [InputTag(*tag) for tag in i["tags"].items()])
        for i in record["inputs"]
    ]
    store.client.log_inputs(run_id, inputs)


def _name_table(store: Store, run_id: str, record: Record, folder: Path) -> None:
    """Say that an artifact is a table, as MLflow's own log_table does; its page shows it."""
    run = store.client.get_run(run_id)
    tables = json.loads(run.data.tags.get(TABLES_TAG, "[]"))
    entry = {"path": record["name"], "type": "table"}
    if entry not in tables:
        store.client.set_tag(run_id, TABLES_TAG, json.dumps([*tables, entry]))


def _put_text(store: Store, run_id: str, record: Record, folder: Path) -> None:
    with tempfile.TemporaryDirectory() as aside:
        place = Path(aside) / PurePosixPath(record["name"]).name
        place.write_text(record["text"], encoding="utf-8", newline="")
        run = store.client.get_run(run_id)
        put_artifact(store, run, place, record["name"], sha256=sha256_of(place))


def _put_file(store: Store, run_id: str, record: Record, folder: Path) -> None:
    place = folder / SPOOL / record["spooled"]
    if place.exists():  # else it was brought before, and only the note of that was lost
        run = store.client.get_run(run_id)
        put_artifact(store, run, place, record["name"], sha256=record["sha256"])
        shutil.rmtree(place.parent, ignore_errors=True)


ADDED: Mapping[str, Callable[[Store, str, Record, Path], None]] = {
    "params": _log_params,
    "tags": _set_tags,
    "inputs": _log_inputs,
    "table": _name_table,
    "text": _put_text,
    "file": _put_file,
}
