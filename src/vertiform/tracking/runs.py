"""A run in MLflow: opened, fed and closed so that its state is true however it ends."""

import getpass
import json
import logging
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from vertiform.errors import TrackingError
from vertiform.tracking.limits import (
    DIGEST_CHARACTERS,
    PARAM_CHARACTERS,
    PARAMS_PER_BATCH,
    TAG_CHARACTERS,
    in_batches,
    shortened,
    to_valid_name,
)
from vertiform.tracking.lineage import Lineage
from vertiform.tracking.sink import ShippingSink
from vertiform.tracking.store import Store, errors_named, without_credentials

TARGET = "_target_"  # Hydra's; config.yaml keeps it
SECONDS_TO_FINISH = 60.0  # that the end of a run waits for a store that does not answer

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """An open run. `sink` takes the metrics of a training loop; the rest is for now and then."""

    id: str
    name: str
    store: Store
    sink: ShippingSink

    def log_metrics(self, points: Mapping[str, float], *, step: int = 0) -> None:
        """Log values that belong to the whole run, such as test scores."""
        self.sink.log_points(points, step=step)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags. One over MLflow's 8,000 characters is shortened; keep a file of it too."""
        from mlflow.entities import RunTag

        every = [
            RunTag(to_valid_name(name), shortened(value, TAG_CHARACTERS, whole_in="the artifacts"))
            for name, value in tags.items()
        ]
        with errors_named(self.store.uri):
            for batch in in_batches(every, PARAMS_PER_BATCH):
                self.store.client.log_batch(self.id, tags=batch, synchronous=True)

    def log_file(self, path: Path, *, folder: str = "") -> None:
        """Keep a file, or a folder with all that is in it, among the run's artifacts."""
        with errors_named(self.store.uri):
            if path.is_dir():
                self.store.client.log_artifacts(self.id, str(path), folder or path.name)
            else:
                self.store.client.log_artifact(self.id, str(path), folder or None)

    def log_text(self, text: str, file: str) -> None:
        """Keep `text` as the artifact `file`, a path inside the run's artifacts."""
        with errors_named(self.store.uri):
            self.store.client.log_text(self.id, text, file)

    def log_table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Keep rows as a table that MLflow's page shows; a key that a row lacks stays empty."""
        keys = dict.fromkeys(key for row in rows for key in row)
        columns = {key: [row.get(key) for row in rows] for key in keys}
        with errors_named(self.store.uri):
            self.store.client.log_table(self.id, columns, f"{name}.json")

    def note(self, markdown: str) -> None:
        """Write what a person reads first on the run's page, and keep it whole as note.md."""
        self.log_text(markdown, "note.md")
        shown = shortened(markdown, TAG_CHARACTERS, whole_in="note.md")
        self.set_tags({"mlflow.note.content": shown})


@contextmanager
def start_run(
    store: Store,
    name: str,
    *,
    experiment: str,
    kind: str,
    config: Mapping[str, Any],
    lineage: Lineage,
    parent_id: str | None = None,
    tags: Mapping[str, str] | None = None,
) -> Iterator[Run]:
    """Open a run; at the block's end MLflow says FINISHED, FAILED (an error) or KILLED (stopped).

    name: for people, such as "area from MiniLM, 64 a class". kind: the door's word, "finetune".
    config: composed, plain values; flattened to params (`optimizer.lr`) and kept as config.yaml.
    Raises TrackingError at the end if metrics did not reach the store; it counts them.
    """
    links = {"mlflow.parentRunId": parent_id} if parent_id else {}
    with errors_named(store.uri):
        created = store.client.create_run(
            store.experiment_id(experiment),
            run_name=name,
            tags={"mlflow.user": who(), "vertiform.kind": kind, **links, **(tags or {})},
        )
    run_id = created.info.run_id
    run = Run(run_id, name, store, ShippingSink(store, run_id, seconds_to_finish=SECONDS_TO_FINISH))
    try:
        with _sigterm_raised():
            _log_config(run, config)
            _log_lineage(run, lineage)
            yield run
            run.sink.close()
    except BaseException as error:
        _end_broken(run, error)
        raise
    with errors_named(store.uri):
        store.client.set_terminated(run_id, "FINISHED")


@contextmanager
def reopened_run(store: Store, run_id: str) -> Iterator[Run]:
    """Add to a run that has ended, such as test scores to the run that trained; it stays ended.

    Raises TrackingError at the end if metrics did not reach the store.
    """
    with errors_named(store.uri):
        name = store.client.get_run(run_id).info.run_name
    sink = ShippingSink(store, run_id, seconds_to_finish=SECONDS_TO_FINISH)
    try:
        yield Run(run_id, name, store, sink)
    except BaseException:
        with suppress(TrackingError):  # the error on its way matters more
            sink.close()
        raise
    sink.close()


def flatten(config: Mapping[str, Any]) -> dict[str, str]:
    """Return nested config as "optimizer.lr": "0.001", values as YAML writes them, nothing cut.

    A list of plain values is one param; one that holds mappings is numbered: "sources.0.path".
    """
    flat: dict[str, str] = {}
    _flatten_into(flat, "", config)
    return flat


def who() -> str:
    """Return the name of whoever runs this; a container may know none."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def _flatten_into(flat: dict[str, str], prefix: str, value: Any) -> None:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            if key == TARGET:
                continue  # a class's name tells a person who compares runs nothing
            _flatten_into(flat, f"{prefix}.{key}" if prefix else str(key), inner)
    elif isinstance(value, (list, tuple)) and any(isinstance(item, Mapping) for item in value):
        for number, item in enumerate(value):
            _flatten_into(flat, f"{prefix}.{number}", item)
    elif isinstance(value, str):
        flat[prefix] = without_credentials(value)
    else:
        flat[prefix] = without_credentials(json.dumps(value, ensure_ascii=False, default=str))


def _log_config(run: Run, config: Mapping[str, Any]) -> None:
    from mlflow.entities import Param

    params = []
    for key, value in flatten(config).items():
        name = to_valid_name(key)
        if len(value) > PARAM_CHARACTERS:
            file = f"params/{name}.txt"
            run.log_text(value, file)
            value = f"{len(value):,} characters, too long for MLflow: see the artifact {file}"
        params.append(Param(name, value))
    with errors_named(run.store.uri):
        for batch in in_batches(params, PARAMS_PER_BATCH):
            run.store.client.log_batch(run.id, params=batch, synchronous=True)
    text = OmegaConf.to_yaml(OmegaConf.create(dict(config)))
    run.log_text(without_credentials(text), "config.yaml")


def _log_lineage(run: Run, lineage: Lineage) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    run.set_tags(lineage.tags())
    run.log_text(json.dumps(lineage.as_json(), indent=2) + "\n", "lineage/lineage.json")
    if lineage.code.is_dirty:
        run.log_text(lineage.code.diff, "lineage/uncommitted.diff")
    # What mlflow.data's MetaDataset would write, without the pandas that it imports.
    inputs = [
        DatasetInput(
            Dataset(
                name=version.path,
                digest=version.digest[:DIGEST_CHARACTERS],
                source_type="local",
                source=json.dumps({"uri": version.path}),
                profile=json.dumps({"size_bytes": version.size_bytes, "stage": version.stage}),
            ),
            [InputTag("mlflow.data.context", "training"), InputTag("digest", version.digest)],
        )
        for version in lineage.data
    ]
    if inputs:
        with errors_named(run.store.uri):
            run.store.client.log_inputs(run.id, inputs)


def _end_broken(run: Run, error: BaseException) -> None:
    """Close the run with its true state. Trouble here is only logged: `error` matters more."""
    status = "FAILED" if isinstance(error, Exception) else "KILLED"  # Ctrl-C, SIGTERM
    told = without_credentials(f"{type(error).__name__}: {error}")
    lines = without_credentials("".join(traceback.format_exception(error)))
    for step in (
        run.sink.close,
        lambda: run.set_tags({"vertiform.error": told}),
        lambda: run.log_text(lines, "error.txt"),
        lambda: run.store.client.set_terminated(run.id, status),
    ):
        try:
            step()
        except Exception as trouble:
            if trouble is not error:
                logger.warning("While run %s ended as %s: %s", run.id, status, trouble)


@contextmanager
def _sigterm_raised() -> Iterator[None]:
    """Turn SIGTERM into SystemExit, as Ctrl-C is KeyboardInterrupt: else the run stays RUNNING."""
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield  # another thread, or someone who handles it already: an outer run, the trainer
        return
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
