"""Faults of the journal itself: its clock, its owner, its bytes."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.faults.kills import place_with_server, wait_until_shipping
from tests.faults.place import Place, line_with, wait_until
from tests.faults.rows import Row
from tests.faults.scale import Scale
from vertiform.tracking.journal import LINES
from vertiform.tracking.journal_lines import Damaged, Groups, read_lines
from vertiform.tracking.shipped import read_shipped
from vertiform.tracking.shipping import REFUSED

BLOCK = 512  # bytes, of a disk


def clock_set_back(folder: Path, scale: Scale) -> Row:
    """Let the trainer's clock fall back an hour every 50 readings, and kill it in between."""
    place = Place(folder).with_model()
    try:
        trainer = place.trainer("run", "--clock-back-each", "50")
        for _ in range(3):
            trainer.start()
            time.sleep(1.5)
            trainer.kill()
        saw = line_with(trainer.start().finish(), "is over")
        place.wait_until_shipped()
    finally:
        place.close()
    back = len((trainer.folder / "clock.txt").read_text().split())
    assert back >= 3
    _assert_times_only_grow(place)
    return place.row("the clock set back an hour", saw=saw, happened=f"{back} times")


def _assert_times_only_grow(place: Place) -> None:
    store = place.store()
    run_id = read_shipped(next(place.journals.glob("run*/"))).run_id
    assert run_id is not None
    points = store.client.get_metric_history(run_id, "train/metric_00")
    times = [point.timestamp for point in sorted(points, key=lambda point: point.step)]
    assert times == sorted(times)


def one_id_twice(folder: Path, scale: Scale) -> Row:
    """Start a run a second time while it goes on."""
    place = Place(folder).with_model()
    try:
        trainer = place.trainer("run").start()
        second = place.trainer("second")
        second.folder.mkdir()
        (second.folder / "enough").touch()
        process = _start_as(place, "run", second.folder)
        assert process.wait() == 2
        saw = line_with((second.folder / "said.txt").read_text(), "is going on already")
        assert second.accepted == []
        trainer.finish()
        place.wait_until_shipped()
    finally:
        place.close()
    return place.row("one id for two runs", saw=saw, happened="the second ended with exit code 2")


def _start_as(place: Place, name: str, folder: Path) -> subprocess.Popen:
    command = [
        *(sys.executable, "-m", "tests.faults.trainer", "--root", str(place.root)),
        *("--folder", str(folder), "--name", name),
    ]
    with (folder / "said.txt").open("wb") as said:
        return subprocess.Popen(command, env=place.environment, stdout=said, stderr=said)


def journal_copied(folder: Path, scale: Scale) -> Row:
    """Take up a copy of a journal elsewhere while its run goes on."""
    with place_with_server(folder / "here") as (place, server):
        trainer = place.trainer("run").start()
        wait_until_shipping(place, trainer)
        elsewhere = Place(folder / "elsewhere", uri=server.uri)
        shutil.copytree(place.journals, elsewhere.journals)
        for lock in elsewhere.journals.glob(".shipper-*.lock"):
            lock.unlink()
        copy = elsewhere.trainer("run")
        try:
            copy.start()
            wait_until(lambda: "is going on elsewhere" in copy.said, alive=copy.process, said=copy)
            saw = elsewhere.shown(line_with(copy.said, "is going on elsewhere"))
            copy.kill()
        finally:
            elsewhere.close()
        trainer.finish()
        place.wait_until_shipped()
        return place.row(
            "one id for two runs: a copy of the journal taken up elsewhere",
            saw=saw,
            happened=f"the copy's {len(copy.accepted)} steps were held back",
        )


def bit_flipped(folder: Path, scale: Scale) -> Row:
    """Flip one bit of a line that has not been sent."""
    place, lines = _unsent(folder)
    text = bytearray(lines.read_bytes())
    place_of_bit = _a_line_of_points(bytes(text)) + 30
    text[place_of_bit] ^= 1
    lines.write_bytes(text)
    saw = line_with(place.sync(), "has all of")
    assert not (lines.parent / REFUSED).exists()
    return place.row("a corrupt journal: one bit", saw=saw, happened="one bit flipped, put right")


def block_overwritten(folder: Path, scale: Scale) -> Row:
    """Overwrite a block of lines that have not been sent, as a dying disk does."""
    place, lines = _unsent(folder)
    text = bytearray(lines.read_bytes())
    at = _a_line_of_points(bytes(text)) // BLOCK * BLOCK + BLOCK
    gone = text[at - BLOCK : at + 2 * BLOCK].count(b"\n")
    text[at : at + BLOCK] = bytes(BLOCK)
    lines.write_bytes(text)
    damaged = [
        line
        for line in read_lines(lines, start=0, groups=Groups())
        if isinstance(line.content, Damaged)
    ]
    saw = line_with(place.sync(), "refused")
    told = (lines.parent / REFUSED).read_text().splitlines()
    assert len(told) == len(damaged) > 0
    row = place.row(
        "a corrupt journal: a block overwritten before it was sent",
        saw=saw,
        happened=f"{BLOCK} bytes were zeroed; {len(damaged)} damaged lines are named",
    )
    assert 0 < row.missing <= 20 * (gone + 1)
    return row


def _unsent(folder: Path) -> tuple[Place, Path]:
    """A run of which MLflow has nothing, because its shipper stood still until it was killed."""
    place = Place(folder).with_model()
    try:
        trainer = place.trainer("run").start()
        wait_until(place.shipper, alive=trainer.process, said=trainer)
        pid = place.shipper()
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        wait_until(lambda: len(trainer.accepted) > 300, alive=trainer.process, said=trainer)
        trainer.kill()
    finally:
        place.close()
    lines = next(place.journals.glob("run*/")) / LINES
    return place, lines


def _a_line_of_points(text: bytes) -> int:
    """Where a line of points in the second half begins."""
    at = text.index(b" p ", len(text) * 3 // 4)
    return text.rindex(b"\n", 0, at) + 1
