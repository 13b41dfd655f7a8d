"""Faults: a disk is full: a small one, filled by a file that is removed later."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.kills import states
from tests.faults.place import Place, Trainer, line_with, wait_until
from tests.faults.rows import Row
from tests.faults.scale import Scale

MEGABYTE = 1 << 20
_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def small_disk(at: Path, *, megabytes: int) -> Iterator[None]:
    """A tmpfs of this size at `at`. Skips where this process may mount nothing."""
    at.mkdir(parents=True, exist_ok=True)
    options = f"size={megabytes}m".encode()
    if _libc.mount(b"tmpfs", str(at).encode(), b"tmpfs", 0, options):
        pytest.skip(f"a file system may not be mounted here: {os.strerror(ctypes.get_errno())}")
    try:
        yield
    finally:
        _libc.umount2(str(at).encode(), 2)  # MNT_DETACH, should something still be open there


def fill(at: Path, *, but_bytes: int) -> Path:
    """Leave only so much room; return the file to remove."""
    ballast = at / "ballast"
    free = os.statvfs(at).f_bavail * os.statvfs(at).f_frsize
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, free - but_bytes)
    return ballast


def journal_disk_full(folder: Path, scale: Scale) -> Row:
    """Fill the disk that the journal is on; free it after a while."""
    place = Place(folder).with_model()
    with small_disk(place.journals, megabytes=16):
        try:
            trainer = place.trainer("run")
            ballast = fill(place.journals, but_bytes=300_000)
            said = full_for_a_while(trainer, ballast, "cannot be written (No space left")
            place.wait_until_shipped()
            assert "is written again; nothing is lost" in said
            saw = line_with(said, "cannot be written (No space left")
            return place.row("disk full: the journal's", saw=saw, happened="ENOSPC was said")
        finally:
            place.close()


def store_disk_full(folder: Path, scale: Scale) -> Row:
    """Fill the disk that MLflow's database is on; free it after a while."""
    place = Place(folder)
    with small_disk(place.root / "disk", megabytes=64):
        (place.root / "mlflow.db").symlink_to(place.root / "disk" / "mlflow.db")
        try:
            place.with_model()
            trainer = place.trainer("run")
            ballast = fill(place.root / "disk", but_bytes=400_000)
            said = full_for_a_while(trainer, ballast, "takes nothing now")
            place.wait_until_shipped()
            saw = line_with(said, "takes nothing now")
            assert "full" in saw
            return place.row("disk full: the store's", saw=saw, happened="SQLITE_FULL was said")
        finally:
            place.close()


def artifact_disk_full(folder: Path, scale: Scale) -> Row:
    """Fill the disk that artifacts are on, in the middle of a file; free it after a while."""
    place = Place(folder)
    with small_disk(place.root / "mlartifacts", megabytes=32):
        try:
            place.with_model()
            trainer = place.trainer("run", "--text-bytes", "60000")
            ballast = fill(place.root / "mlartifacts", but_bytes=200_000)
            said = full_for_a_while(trainer, ballast, "takes nothing now")
            place.wait_until_shipped()
            saw = line_with(said, "takes nothing now")
            assert "No space is left" in saw
            files = sorted((place.root / "mlartifacts").rglob("texts/*"))
            assert {file.stat().st_size for file in files if file.stem == "0"} == {24000}
            assert not [file for file in files if file.name.startswith(".")]
            return place.row(
                "disk full: the artifacts'",
                saw=saw,
                happened=f"ENOSPC was said; {len(files)} files are whole",
            )
        finally:
            place.close()


def full_for_a_while(trainer: Trainer, ballast: Path, words: str) -> str:
    """Train until the person is told, then free the disk; return all that was said."""
    trainer.start()
    wait_until(lambda: words in trainer.said, alive=trainer.process, said=trainer)
    told = len(trainer.accepted)
    wait_until(lambda: len(trainer.accepted) > told + 100, alive=trainer.process, said=trainer)
    ballast.unlink()
    again = ("written again", "what is logged again")
    wait_until(lambda: any(w in trainer.said for w in again), alive=trainer.process, said=trainer)
    said = trainer.finish()
    trainer.place.wait_until_shipped()
    assert states(trainer.place) == {"FINISHED"}
    return said
