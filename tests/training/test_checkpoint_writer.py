"""Checkpoints are written beside training: in order, one at a time, and never by halves."""

import logging
import os
import resource
import subprocess
import threading
from pathlib import Path

import pytest
import torch

from tests.training.tiny import pretrain_tiny
from vertiform.errors import StorageError
from vertiform.training.checkpoint_writer import CheckpointWriter
from vertiform.training.checkpoints import (
    MANIFEST,
    STATE,
    TENSORS,
    RunCheckpoints,
    damage_of,
    read_checkpoint,
    snapshot_of,
    state_of,
)
from vertiform.training.metrics import MemorySink, NoSink


def state_at(step: int, *, best_step: int | None = None) -> dict:
    return {
        "weights": torch.full((1000,), float(step)),
        "vertiform": {"step": step, "best_step": best_step},
    }


@pytest.fixture
def run(tmp_path) -> RunCheckpoints:
    return RunCheckpoints.of(tmp_path, fingerprint="run", keeps_last=2)


def test_what_is_saved_is_the_state_at_the_call_whatever_comes_after(run):
    state = state_at(1)
    with CheckpointWriter(run, sink=NoSink()) as writer:
        writer.save(state, step=1)
        state["weights"].zero_()
    assert (read_checkpoint(run.at_step(1))["weights"] == 1).all()


def test_saving_goes_on_while_the_caller_does(run, monkeypatch):
    may_write = threading.Event()
    prune = RunCheckpoints.prune
    monkeypatch.setattr(RunCheckpoints, "prune", lambda self: (may_write.wait(), prune(self)))
    with CheckpointWriter(run, sink=NoSink()) as writer:
        writer.save(state_at(1), step=1)
        assert writer.saved_step is None  # the caller is here, the writer is not done
        may_write.set()
        writer.save(state_at(2), step=2)  # waits for the first
        assert writer.saved_step == 1
    assert writer.saved_step == 2


def test_all_is_on_disk_at_the_end_even_of_a_block_that_fails(run):
    with pytest.raises(KeyError):
        with CheckpointWriter(run, sink=NoSink()) as writer:
            writer.save(state_at(1), step=1)
            raise KeyError
    assert damage_of(run.at_step(1)) is None


def test_the_best_weights_are_on_disk_before_the_checkpoint_that_needs_them(run, monkeypatch):
    written = []
    monkeypatch.setattr(
        "vertiform.training.checkpoint_writer.write_snapshot",
        lambda path, snapshot, before_manifest: written.append(path.name),
    )
    monkeypatch.setattr(RunCheckpoints, "prune", lambda self: None)
    with CheckpointWriter(run, sink=NoSink()) as writer:
        writer.keep_best({"w": torch.ones(1)}, step=1)
        writer.save(state_at(1, best_step=1), step=1)
        writer.save(state_at(2, best_step=1), step=2)
    assert written == ["best-00000001", "step-00000001", "step-00000002"]


def test_the_best_weights_come_from_memory_or_from_an_earlier_process(run):
    tied = torch.ones(3)
    with CheckpointWriter(run, sink=NoSink()) as writer:
        writer.keep_best({"a": tied, "b": tied}, step=1)
        assert not run.folder.exists()
        assert torch.equal(writer.best_weights(1)["b"], tied)
        writer.save(state_at(1, best_step=1), step=1)
    with CheckpointWriter(run, sink=NoSink()) as later:
        assert torch.equal(later.best_weights(1)["b"], tied)


def test_a_second_snapshot_takes_no_more_memory_and_equals_a_fresh_one():
    first = snapshot_of(state_at(1))
    second = snapshot_of(state_at(2), into=first.tensors)
    assert second.tensors["/weights"].data_ptr() == first.tensors["/weights"].data_ptr()
    assert (state_of(second)["weights"] == 2).all()
    changed = snapshot_of({"weights": torch.ones(7, dtype=torch.int32)}, into=second.tensors)
    assert state_of(changed)["weights"].tolist() == [1] * 7


class FilesCutAt:
    """No file of this process may grow beyond some bytes: the kernel refuses the write."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, self._before[1]))

    def free(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self._before)


class SmallDisk:
    """A file system of 4 MB in memory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("only the superuser may mount")

    def fill(self) -> None:
        with (self.folder / "filler").open("wb", buffering=0) as file:
            with pytest.raises(OSError, match="No space left"):
                while True:
                    file.write(bytes(1000))

    def free(self) -> None:
        (self.folder / "filler").unlink(missing_ok=True)


class WatchedSink(NoSink):
    """Says what stood on the disk when it was asked to sync; its own disk may be full."""

    def __init__(self, run: RunCheckpoints) -> None:
        self._run = run
        self.is_full = False
        self.seen: list[tuple[list[str], list[str]]] = []

    def sync(self):
        """Note the checkpoints that count, and the files of the one that is being written."""
        whole = sorted(path.name for path in self._run.folder.glob("step-*"))
        aside = sorted(path.name for path in self._run.folder.glob(".step-*/*"))
        self.seen.append((whole, aside))
        if self.is_full:
            raise StorageError("The journal cannot be written.", fix="free some space.")


def test_a_checkpoint_counts_only_after_what_was_logged_before_it_is_on_disk(run):
    sink = WatchedSink(run)
    with CheckpointWriter(run, sink=sink) as writer:
        writer.save(state_at(1), step=1)
        writer.save(state_at(2), step=2)
    assert [whole for whole, _ in sink.seen] == [[], ["step-00000001"]]
    for _, aside in sink.seen:
        assert {TENSORS, STATE} <= set(aside)
        assert MANIFEST not in aside


def test_without_room_for_the_journal_the_checkpoint_is_not_saved_and_training_goes_on(run, caplog):
    sink = WatchedSink(run)
    with CheckpointWriter(run, sink=sink) as writer:
        writer.save(state_at(1), step=1)
        writer.wait()
        sink.is_full = True
        writer.save(state_at(2), step=2)
        writer.wait()
        assert writer.saved_step == 1
        assert run.newest_whole() == run.at_step(1)
        sink.is_full = False
        writer.save(state_at(3), step=3)
    assert writer.saved_step == 3
    told = [record.message for record in caplog.records]
    assert any("step 2 is not saved" in line and "journal" in line for line in told)


@pytest.fixture(params=[FilesCutAt, SmallDisk])
def disk(request, tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    disk = request.param(folder)
    yield disk
    disk.free()
    if os.path.ismount(folder):
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_said_once_and_costs_only_the_checkpoints_it_refused(tmp_path, disk, caplog):
    class Filling(MemorySink):
        """Fills the disk after the checkpoint of step 4, and frees it before that of step 20."""

        def log_points(self, points, *, step):
            if step == 6:
                disk.fill()
            if step == 19:
                self.while_full = sorted(p.name for p in (disk.folder / "run").glob("step-*"))
                disk.free()

    sink = Filling()
    with caplog.at_level(logging.INFO):
        pretrain_tiny(tmp_path, checkpoints=disk.folder, sink=sink)
    assert sink.while_full == ["step-00000004"]
    said = [r.message for r in caplog.records if r.name.endswith("checkpoint_writer")]
    assert len(said) == 2
    assert "step 8 is not saved, training goes on without: " in said[0]
    assert "step 20 is saved" in said[1]
    pretrain_tiny(tmp_path, "elsewhere")
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == (
        tmp_path / "elsewhere" / "model.safetensors"
    ).read_bytes()
    last = RunCheckpoints.of(disk.folder, fingerprint="run", keeps_last=2).newest_whole()
    assert last is not None
    assert last.name == "step-00000025"
