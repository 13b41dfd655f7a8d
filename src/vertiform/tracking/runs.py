"""A run in MLflow: opened, fed and closed so that its state is true however it ends.

Everything that a run has to say goes to its journal on this disk first, and from there to MLflow:
training never waits for a server, and a server that is away loses nothing.
"""

import getpass
import json
import logging
import math
import signal
import sys
import threading
import traceback
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any

from vertiform.errors import TrackingError
from vertiform.tracking.artifacts import check_name
from vertiform.tracking.following import Carrier, InBackground, InPlace
from vertiform.tracking.journal import LINES, Journal
from vertiform.tracking.journal_lines import last_record
from vertiform.tracking.limits import (
    TAG_CHARACTERS,
    shortened,
    to_valid_name,
)
from vertiform.tracking.lineage import Lineage
from vertiform.tracking.locks import this_process
from vertiform.tracking.run_facts import log_config, log_lineage
from vertiform.tracking.shipped import Shipped, read_shipped
from vertiform.tracking.shipper import journals_of
from vertiform.tracking.store import Store, errors_named, without_credentials

IDENTITY_CHARACTERS = 24  # of a run's identity, that its journal is named by

logger = logging.getLogger(__name__)


class Run:
    """An open run. It takes the metrics of a training loop, and the rest now and then."""

    def __init__(self, name: str, store: Store, journal: Journal, carrier: Carrier) -> None:
        self.name = name
        self.store = store
        self.journal = journal
        self._carrier = carrier

    @property
    def id(self) -> str:
        """Its id in MLflow. Waits for it; raises TrackingError if MLflow does not answer."""
        self._carrier.wait_for_id()
        return run_id_of(self.store, self.journal_name)

    @property
    def journal_name(self) -> str:
        """What `run_id_of` finds it by, once it has ended."""
        return self.journal.folder.name

    def log_points(self, points: Mapping[str, float], *, step: int) -> None:
        """Keep the values of one step of training, in microseconds; see Journal.append_points."""
        self.journal.append_points(points, step=step)

    def log_metrics(self, points: Mapping[str, float], *, step: int = 0) -> None:
        """Log values that belong to the whole run, such as test scores."""
        self.journal.append_points(points, step=step)

    def sync(self) -> None:
        """Have on this disk whatever was logged before; who saves a checkpoint asks for it."""
        self.journal.sync()

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags. One over MLflow's 8,000 characters is shortened; keep a file of it too."""
        shown = {
            to_valid_name(name): shortened(value, TAG_CHARACTERS, whole_in="the artifacts")
            for name, value in tags.items()
        }
        self.journal.append("tags", tags=shown)

    def log_file(self, path: Path, *, folder: str = "") -> None:
        """Keep a file, or a folder with all that is in it, among the run's artifacts."""
        if path.is_dir():
            for file in sorted(file for file in path.rglob("*") if file.is_file()):
                inside = PurePosixPath(folder or path.name) / file.relative_to(path).as_posix()
                self._log_file(file, inside.as_posix())
        else:
            self._log_file(path, (PurePosixPath(folder) / path.name).as_posix())

    def log_text(self, text: str, file: str) -> None:
        """Keep `text` as the artifact `file`, a path inside the run's artifacts."""
        check_name(file)
        self.journal.append_text(text, file)

    def log_table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Keep rows as a table that MLflow's page shows; a key that a row lacks stays empty."""
        keys = list(dict.fromkeys(key for row in rows for key in row))
        data = [[_json_value(row.get(key)) for key in keys] for row in rows]
        file = f"{name}.json"
        self.log_text(json.dumps({"columns": keys, "data": data}, ensure_ascii=False), file)
        self.journal.append("table", name=file)

    def note(self, markdown: str) -> None:
        """Write what a person reads first on the run's page, and keep it whole as note.md."""
        self.log_text(markdown, "note.md")
        shown = shortened(markdown, TAG_CHARACTERS, whole_in="note.md")
        self.set_tags({"mlflow.note.content": shown})

    def end(self, status: str | None, *, waits: bool = True) -> Shipped | None:
        """Close the journal with the run's state, and wait for MLflow to have all of it.

        status: FINISHED, FAILED or KILLED; None for a run that had ended before. None is returned
        where nobody waits. Raises StorageError if the disk did not take everything.
        """
        self.journal.append("end", status=status)
        self._carrier.stop()
        self.journal.close()
        return self._carrier.wait_until_whole() if waits else None

    def _log_file(self, source: Path, name: str) -> None:
        check_name(name)
        self.journal.append_file(source, name)


@contextmanager
def start_run(
    store: Store,
    name: str,
    *,
    experiment: str,
    kind: str,
    config: Mapping[str, Any],
    lineage: Lineage,
    identity: str | None = None,
    parent: Run | str | None = None,
    tags: Mapping[str, str] | None = None,
    in_background: bool = True,
    waits: bool = True,
    reopens: bool = False,
) -> Iterator[Run]:
    """Open a run; at the block's end MLflow says FINISHED, FAILED (an error) or KILLED (stopped).

    name:     for people, such as "area from MiniLM, 64 a class". kind: the door's word, "finetune".
    config:   composed, plain values; flattened to params (`optimizer.lr`) and kept as config.yaml.
    identity: what makes this run this run. One that was killed or failed is taken up again under
              the same identity, as the same run with one value a step; None is always a new one.
    parent:   a run, or the journal of one that another process of this project has open.
    in_background: another process brings the journal to MLflow; else this one, at the end.
    waits:    whether the end of the block waits for MLflow to have all of it; wait_for_runs does it
              later for many.
    reopens:  whether a run of this identity that has finished is taken up again too.

    MLflow need not answer: a warning then names the journal and the command that sends it.
    Raises TrackingError if another process has this run open.
    """
    if isinstance(parent, Run) and not in_background:
        _ = parent.id  # which brings the parent to MLflow, before its child
    folder = _journal_folder(journals_of(store.root), identity, reopens=reopens)
    journal = Journal(folder)
    if journal.is_new:
        links = {"mlflow.user": who(), "vertiform.kind": kind}
        journal.append(
            "create",
            key=uuid.uuid4().hex,
            owner=str(this_process()),
            store=store.name,
            experiment=experiment,
            name=name,
            parent=parent.journal_name if isinstance(parent, Run) else parent,
            tags=links | dict(tags or {}),
        )
    else:
        journal.append("resumed", store=store.name, owner=str(this_process()))
    run = Run(name, store, journal, _carrier(store, folder, in_background=in_background))
    if "params" not in journal.past.kinds:
        log_config(run, config)
    log_lineage(run, lineage)
    with _ending(run, "FINISHED", waits=waits):
        yield run


def wait_for_runs(store: Store, journal_names: Sequence[str]) -> None:
    """Wait for MLflow to have all of runs that ended without waiting; say of which it does not.

    After one that it does not take, the others are not waited for.
    """
    for num_seen, name in enumerate(journal_names, start=1):
        folder = journals_of(store.root) / name
        carrier = InBackground(store, folder)
        carrier.stop()
        state = carrier.wait_until_whole()
        _say_what_is_missing(store, name, folder, state)
        if not state.is_ended:
            left = len(journal_names) - num_seen
            logger.warning("Nor are the %d runs after it waited for.", left)
            return


@contextmanager
def reopened_run(store: Store, run_id: str) -> Iterator[Run]:
    """Add to a run that has ended, such as test scores to the run that trained; it stays ended.

    Raises TrackingError if MLflow does not have what was added at the end.
    """
    with errors_named(store.uri):
        name = store.client.get_run(run_id).info.run_name
    folder = journals_of(store.root) / f"added-{run_id}"
    journal = Journal(folder, keeps_changed=True)
    journal.append("attach", store=store.name, run_id=run_id)
    run = Run(name, store, journal, InPlace(store, folder))
    with _ending(run, None):
        yield run
    state = read_shipped(folder)
    if state.trouble or not state.is_ended:
        raise TrackingError(
            f"What was added to the run {run_id} is not in {store.name}: {state.trouble}",
            fix=f"see that it answers, then run `vertiform sync`; {folder} keeps it.",
        )


def run_id_of(store: Store, journal_name: str) -> str:
    """Return the id that MLflow gave to a journal's run; TrackingError if it did not yet."""
    folder = journals_of(store.root) / journal_name
    state = read_shipped(folder)
    if state.run_id is None:
        raise TrackingError(
            f"The run of {folder} is not in {store.name} yet: "
            f"{state.trouble or 'it takes nothing now'}.",
            fix="see that it answers, run `vertiform sync`, then the same command again; what was "
            "trained is kept.",
        )
    return state.run_id


def has_finished(store: Store, journal_name: str) -> bool:
    """Say whether the run of a journal came to its end without an error."""
    return _has_finished(journals_of(store.root) / journal_name)


@contextmanager
def _ending(run: Run, status: str | None, *, waits: bool = True) -> Iterator[None]:
    """End the run with its true state when the block ends, however it ends."""
    try:
        with _sigterm_raised():
            yield
    except BaseException as error:
        _end_broken(run, error, has_state=status is not None, waits=waits)
        raise
    _end(run, status, waits=waits)


def _end(run: Run, status: str | None, *, waits: bool) -> None:
    state = run.end(status, waits=waits)
    if state is not None:
        _say_what_is_missing(run.store, run.name, run.journal.folder, state)


def _say_what_is_missing(store: Store, name: str, folder: Path, state: Shipped) -> None:
    if not state.is_ended:
        logger.warning(
            "%s does not have all of the run `%s` yet (%s). It is kept in %s; `vertiform sync` "
            "sends it.",
            *(store.name, name, state.trouble or "it takes long", folder),
        )
    if state.refused:
        logger.warning(
            "MLflow refused %d values or records of the run `%s`; %s names them.",
            *(state.refused, name, folder / "refused.txt"),
        )


def _journal_folder(journals: Path, identity: str | None, *, reopens: bool) -> Path:
    """The journal to take up again, or a new one where the last of this identity has finished."""
    if identity is None:
        return journals / uuid.uuid4().hex
    short = identity[:IDENTITY_CHARACTERS]
    number = 1
    while not reopens and _has_finished(journals / f"{short}-{number}"):
        number += 1
    return journals / f"{short}-{number}"


def _has_finished(folder: Path) -> bool:
    return last_record(folder / LINES).get("status") == "FINISHED"


def _carrier(store: Store, folder: Path, *, in_background: bool) -> Carrier:
    return InBackground(store, folder) if in_background else InPlace(store, folder)


def _json_value(value: Any) -> Any:
    """What JSON can hold: a number that is none is empty, what is no plain value its text."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def who() -> str:
    """Return the name of whoever runs this; a container may know none."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def _end_broken(run: Run, error: BaseException, *, has_state: bool, waits: bool) -> None:
    """Close the run with its true state. Trouble here is only logged: `error` matters more."""
    status = "FAILED" if isinstance(error, Exception) else "KILLED"  # Ctrl-C, SIGTERM
    told = without_credentials(f"{type(error).__name__}: {error}")
    lines = without_credentials("".join(traceback.format_exception(error)))
    try:
        if has_state:
            run.set_tags({"vertiform.error": told})
            run.log_text(lines, "error.txt")
        _end(run, status if has_state else None, waits=waits)
    except Exception as trouble:
        with suppress(Exception):
            run.journal.close()
        logger.warning("While the run `%s` ended as %s: %s", run.name, status, trouble)


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
