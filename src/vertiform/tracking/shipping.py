"""Brings a run's journal to MLflow: everything once, in order, however often it is interrupted.

`shipped.json` says how far it is. Points carry the time they were logged at, so MLflow stores one
that is sent again once; records.py says the same of every other kind of record.
"""

import logging
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vertiform.errors import TrackingError
from vertiform.files import write_json
from vertiform.tracking import records
from vertiform.tracking.index_changes import mark_changed
from vertiform.tracking.journal import LINES, OWNER, SPOOL
from vertiform.tracking.journal_lines import (
    Damaged,
    Groups,
    Line,
    Points,
    first_record,
    read_lines,
)
from vertiform.tracking.limits import METRICS_PER_BATCH, in_batches
from vertiform.tracking.locks import Lock, holder_of
from vertiform.tracking.owner import Owner
from vertiform.tracking.shipped import SHIPPED, NotYetError, RunGoneError, read_shipped
from vertiform.tracking.store import Store, what_went_wrong

if TYPE_CHECKING:
    from mlflow.entities import Metric

SHIPPING = "shipping.lock"  # held by the one process that sends it
REFUSED = "refused.txt"  # what MLflow would never take, a line each, and lines that are damaged
SECONDS_BETWEEN_NOTES = 1.0  # of how far it is
# What MLflow answers when the same call can never succeed.
HOPELESS = frozenset({"INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST"})

logger = logging.getLogger(__name__)


class Shipment:
    """One journal on its way. `ship` goes as far as it can; whoever has it calls again."""

    def __init__(self, store: Store, folder: Path) -> None:
        self._store = store
        self.folder = folder
        self.state = read_shipped(folder)
        self._noted, self._noted_at = self.state, time.monotonic()
        self._owner = Owner(store, folder)
        self._groups = Groups()
        self._read_past()

    @property
    def is_whole(self) -> bool:
        """Whether MLflow has every line there is, and the run's state is final."""
        return self.state.is_ended and self.state.position >= (self.folder / LINES).stat().st_size

    @property
    def bytes_left(self) -> int:
        """Of the journal, to bring to MLflow."""
        return max(0, (self.folder / LINES).stat().st_size - self.state.position)

    def ship(self, *, max_seconds: float, is_owner_gone: bool | None = None) -> bool:
        """Send what there is, for about `max_seconds`; True if anything was sent.

        is_owner_gone: None finds out by the lock. Does nothing while another process sends this
        journal. Raises NotYetError, after noting the trouble.
        """
        lock = Lock(self.folder / SHIPPING)
        is_ours = lock.acquire()
        try:
            self._take_note_of_others()
            return is_ours and self._ship(max_seconds, is_owner_gone)
        finally:
            lock.release()

    def _ship(self, max_seconds: float, is_owner_gone: bool | None) -> bool:
        before = self.state.position
        try:
            self._ship_lines(until=time.monotonic() + max_seconds)
            if self.bytes_left == 0:
                self._see_to_the_owner(is_owner_gone)
        except NotYetError as error:
            self._note(trouble=str(error))
            raise
        if self.state.trouble:
            self._note(trouble="")
        return self.state.position > before

    def send_again(self) -> None:
        """Forget how far it was: for a store that was put back to an earlier state."""
        self._note(position=0, is_ended=False)

    def send_anew(self) -> list[str]:
        """Forget the run as well, so that all becomes a new one: the store does not know it.

        Returns the files that only the old run had. Raises TrackingError if the store knows the
        run, which then would be there twice, and for what was added to another journal's run.
        """
        if first_record(self.folder / LINES).get("kind") == "attach":
            raise TrackingError(
                f"{self.folder} holds what was added to the run {self.state.run_id}, which was "
                "made elsewhere.",
                fix="send the journal of that run anew, then run the command that added to it.",
            )
        if self._is_known():
            raise TrackingError(
                f"{self._store.name} has the run {self.state.run_id} of {self.folder}.",
                fix="use `vertiform sync --again`, which sends what it lacks to the same run.",
            )
        self._note(run_id=None, position=0, is_ended=False, is_creating=False)
        self._groups, self._owner = Groups(), Owner(self._store, self.folder)
        return self._files_brought()

    def _is_known(self) -> bool:
        try:
            self._check_run_is_there()
        except RunGoneError:
            return False
        return self.state.run_id is not None

    def _files_brought(self) -> list[str]:
        """The files that were brought to MLflow, whose copies here were removed then."""
        lines = read_lines(self.folder / LINES, start=0, groups=Groups())
        kept = [line.content for line in lines if isinstance(line.content, Mapping)]
        files = [record for record in kept if record.get("kind") == "file"]
        return [r["name"] for r in files if not (self.folder / SPOOL / r["spooled"]).exists()]

    def _ship_lines(self, *, until: float) -> None:
        metrics: list[Metric] = []
        position = self.state.position
        if self._owner.is_present_known and self.state.run_id and self.bytes_left:
            self._give_sign_if_due()
        for line in read_lines(self.folder / LINES, start=position, groups=self._groups):
            if isinstance(line.content, Points):
                metrics += _as_metrics(line.content)
                if len(metrics) + len(line.content.names) <= METRICS_PER_BATCH:  # one more fits
                    position = line.end
                    continue
            self._send(metrics)
            metrics = []
            if not isinstance(line.content, Points):
                self._owner.read(line)
                self._apply(line)
            position = line.end
            self._advance(position)
            if time.monotonic() > until:
                return
        self._send(metrics)
        self._advance(position)
        if self.state != self._noted:
            self._note()

    def _take_note_of_others(self) -> None:
        """Go on where another process has come to meanwhile."""
        state = read_shipped(self.folder)
        if state != self._noted:
            self.state = self._noted = state
            self._groups, self._owner = Groups(), Owner(self._store, self.folder)
            self._read_past()

    def _read_past(self) -> None:
        """Learn from what was sent before how the rest is to be read."""
        if self.state.position:
            for line in read_lines(self.folder / LINES, start=0, groups=self._groups):
                self._owner.read(line)
                if line.end >= self.state.position:
                    return

    def _advance(self, position: int) -> None:
        self.state = replace(self.state, position=position)
        if time.monotonic() - self._noted_at > SECONDS_BETWEEN_NOTES:
            self._note()

    def _note(self, **changes: Any) -> None:
        self.state = replace(self.state, **changes)
        self._noted, self._noted_at = self.state, time.monotonic()
        write_json(self.folder / SHIPPED, asdict(self.state))

    def _apply(self, line: Line) -> None:
        if isinstance(line.content, Damaged):
            self._refuse(f"damaged line at byte {line.start}: {line.content.text[:200]!r}")
            return
        assert isinstance(line.content, Mapping)
        record = line.content
        kind = record["kind"]
        self._tried(lambda: self._apply_record(kind, record), what=str(dict(record))[:300])

    def _apply_record(self, kind: str, record: Mapping[str, Any]) -> None:
        if kind in records.ADDED:
            records.ADDED[kind](self._store, self._run_id, record, self.folder)
        else:
            getattr(self, f"_apply_{kind}")(record)

    def _tried(self, call: Any, *, what: str) -> bool:
        """Make a call of MLflow's; False if it will never take it, which is kept and counted."""
        try:
            call()
        except NotYetError:
            raise
        except Exception as error:  # whatever it is, what was logged is not lost by it
            told = what_went_wrong(error)
            if getattr(error, "error_code", "") not in HOPELESS:
                raise NotYetError(told) from error
            self._check_run_is_there()
            self._refuse(f"{what}: {told}")
            return False
        return True

    def _check_run_is_there(self) -> None:
        """A run that was deleted takes nothing: that is no fault of what was logged."""
        from mlflow.exceptions import MlflowException

        if self.state.run_id is None:
            return
        try:
            state = self._store.client.get_run(self.state.run_id).info.lifecycle_stage
        except MlflowException as error:
            if getattr(error, "error_code", "") != "RESOURCE_DOES_NOT_EXIST":
                raise NotYetError(what_went_wrong(error)) from error
            state = "gone"
        if state == "gone":
            raise RunGoneError(f"{self._store.name} has no run {self.state.run_id}")
        if state != "active":
            raise NotYetError(
                f"run {self.state.run_id} is {state} in {self._store.name}; `mlflow runs restore "
                f"--run-id {self.state.run_id}` brings a deleted one back"
            )

    def _refuse(self, what: str) -> None:
        logger.error("%s is not in MLflow and never will be: %s", self.folder.name, what)
        with (self.folder / REFUSED).open("a", encoding="utf-8") as file:
            file.write(what.replace("\n", " ") + "\n")
        self._note(refused=self.state.refused + 1)

    def _send(self, metrics: "list[Metric]") -> None:
        """Send points; those that MLflow will never take are found by halves."""
        for batch in in_batches(metrics, METRICS_PER_BATCH):
            self._send_batch(list(batch))

    def _send_batch(self, batch: "list[Metric]") -> None:
        try:
            self._store.client.log_batch(self._run_id, metrics=batch, synchronous=True)
        except Exception as error:
            told = what_went_wrong(error)
            if getattr(error, "error_code", "") not in HOPELESS:
                raise NotYetError(told) from error
            self._check_run_is_there()
            if len(batch) == 1:
                point = batch[0]
                self._refuse(f"{point.key} = {point.value} at step {point.step}: {told}")
                return
            half = len(batch) // 2
            self._send_batch(batch[:half])
            self._send_batch(batch[half:])

    @property
    def _run_id(self) -> str:
        if self.state.run_id is None:
            raise NotYetError("the beginning of the journal is damaged, so its run is unknown")
        return self.state.run_id

    def _apply_names(self, record: Mapping[str, Any]) -> None:
        """Reading them was all."""

    def _apply_create(self, record: Mapping[str, Any]) -> None:
        if self.state.run_id is not None:  # the journal is sent again
            return
        found = records.created_before(self._store, record) if self.state.is_creating else None
        if found is None:
            self._note(is_creating=True)
            found = records.create(self._store, record, parent_id=self._parent_id(record))
        self._note(run_id=found, is_creating=False)

    def _parent_id(self, record: Mapping[str, Any]) -> str | None:
        if record["parent"] is None:
            return None
        parent_id = read_shipped(self.folder.parent / record["parent"]).run_id
        if parent_id is None:
            raise NotYetError("its parent run is not there yet")
        return parent_id

    def _apply_attach(self, record: Mapping[str, Any]) -> None:
        self._note(run_id=record["run_id"], is_ended=False)

    def _apply_resumed(self, record: Mapping[str, Any]) -> None:
        self._give_sign()
        self._store.client.update_run(self._run_id, status="RUNNING")
        self._note(is_ended=False)

    def _apply_end(self, record: Mapping[str, Any]) -> None:
        if record["status"] is not None:  # None: a run that had ended before, and was added to
            self._store.client.set_terminated(
                self._run_id, record["status"], end_time=record["time_ms"]
            )
        self._note(is_ended=True)
        # The index looks no more at runs that had ended.
        mark_changed(self._store, self._run_id, root=self._store.root)

    def _see_to_the_owner(self, is_gone: bool | None) -> None:
        """Give a sign of life, or end the run of a process that died without a word."""
        if self.state.is_ended or self.state.run_id is None:
            return
        if is_gone is None:
            is_gone = self._owner.is_gone()
        if is_gone:
            self._end_for_owner()
        elif self._owner.is_there:
            self._give_sign_if_due()

    def _end_for_owner(self) -> None:
        last = (self.folder / LINES).stat().st_mtime
        told = f"{holder_of(self.folder / OWNER) or 'its process'} died without a word"
        self._tried(lambda: self._kill(told, time_ms=int(last * 1000)), what="end")
        self._note(is_ended=True)

    def _kill(self, told: str, *, time_ms: int) -> None:
        client = self._store.client
        if first_record(self.folder / LINES).get("kind") == "attach":
            return  # it had ended, and stays as it was
        client.set_tag(self._run_id, "vertiform.error", told)
        client.set_terminated(self._run_id, "KILLED", end_time=time_ms)

    def _give_sign_if_due(self) -> None:
        if self._owner.is_sign_due:
            self._give_sign()

    def _give_sign(self) -> None:
        """Say that our process is alive, unless another one has the run: then nothing is sent."""
        run_id = self._run_id
        try:
            other = self._owner.give_sign(run_id)
        except Exception as error:
            if getattr(error, "error_code", "") in HOPELESS:
                self._check_run_is_there()
            raise NotYetError(what_went_wrong(error)) from error
        if other is not None:
            raise NotYetError(f"the run {run_id} is going on elsewhere, by {other}")


def _as_metrics(points: Points) -> "list[Metric]":
    from mlflow.entities import Metric

    return [
        Metric(name, value, points.time_ms, points.step)
        for name, value in zip(points.names, points.values, strict=True)
    ]
