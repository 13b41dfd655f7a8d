"""Faults: a process is killed. SIGKILL, at moments that a seed chooses."""

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.place import Place, Trainer, line_with, wait_until
from tests.faults.rows import Row
from tests.faults.scale import SEED, Scale
from tests.faults.server import Server
from vertiform.tracking.shipped import read_shipped

KILLS_OF_ONE_RUN = 25


@contextmanager
def place_with_server(folder: Path) -> Iterator[tuple[Place, Server]]:
    """A project whose runs go to a server of its own."""
    place = Place(folder).with_model()
    with Server(place.root) as server:
        place.uri = server.uri
        try:
            yield place, server
        finally:
            place.close()


def trainer_killed(folder: Path, scale: Scale) -> Row:
    """Kill the trainer at random moments of its runs, and start it again by the same command."""
    place, moments = Place(folder).with_model(), random.Random(SEED)
    try:
        left = scale.trainer_kills
        while left:
            trainer = place.trainer(f"run-{left}", "--seconds-a-step", "0.02")
            for _ in range(min(KILLS_OF_ONE_RUN, left)):
                trainer.start()
                time.sleep(moments.uniform(0, 0.5))
                trainer.kill()
                left -= 1
            saw = line_with(trainer.start().finish(), "is over")
        place.wait_until_shipped()
    finally:
        place.close()
    kills = sum(trainer.kills for trainer in place.trainers)
    assert kills == scale.trainer_kills
    assert states(place) == {"FINISHED"}
    return place.row(
        "the trainer killed",
        saw=saw,
        happened=f"{kills} times, in {len(place.trainers)} runs",
    )


def server_killed(folder: Path, scale: Scale) -> Row:
    """Kill the tracking server during one run; it comes back on the same port each time."""
    moments = random.Random(SEED)
    with place_with_server(folder) as (place, server):
        trainer = place.trainer("run", "--seconds-a-step", "0.05").start()
        for _ in range(scale.server_kills):
            wait_until_shipping(place, trainer)
            time.sleep(moments.uniform(0, 1.5))
            server.kill()
            time.sleep(moments.uniform(0, 2))
            server.start()
        wait_until_shipping(place, trainer)
        said = trainer.finish()
        place.wait_until_shipped()
        assert server.kills == scale.server_kills
        return place.row(
            "the tracking server killed during one run",
            saw=line_with(said, "takes nothing now"),
            happened=f"{server.kills} times",
        )


def both_killed(folder: Path, scale: Scale) -> Row:
    """Kill the server and, while it is away, the trainer; then both come back."""
    moments = random.Random(SEED)
    with place_with_server(folder) as (place, server):
        trainer = place.trainer("run", "--seconds-a-step", "0.05")
        for _ in range(scale.both_kills):
            trainer.start()
            wait_until_shipping(place, trainer)
            time.sleep(moments.uniform(0, 0.5))
            server.kill()
            time.sleep(moments.uniform(0, 0.5))
            trainer.kill()
            trainer.start()
            time.sleep(moments.uniform(0, 0.5))
            trainer.kill()
            server.start()
        saw = line_with(trainer.start().finish(), "is over")
        place.wait_until_shipped()
        return place.row(
            "the trainer and the server killed",
            saw=saw,
            happened=f"the server {server.kills} times, the trainer {trainer.kills} times",
        )


def shipper_killed(folder: Path, scale: Scale) -> Row:
    """Kill the process that ships; the trainer starts another."""
    place, moments, kills = Place(folder).with_model(), random.Random(SEED), 0
    try:
        trainer = place.trainer("run", "--seconds-a-step", "0.02").start()
        while kills < scale.shipper_kills:
            wait_until(place.shipper, alive=trainer.process, said=trainer)
            time.sleep(moments.uniform(0, 3))
            kills += place.kill_shipper()
        saw = line_with(trainer.finish(), "is over")
        place.wait_until_shipped()
    finally:
        place.close()
    return place.row("the process that ships killed", saw=saw, happened=f"{kills} times")


def trainer_and_shipper_killed(folder: Path, scale: Scale) -> Row:
    """Kill both at once, so that nobody is left to end the run; then `vertiform sync`."""
    place = Place(folder).with_model()
    try:
        trainer = place.trainer("run").start()
        wait_until_shipping(place, trainer)
        time.sleep(0.5)
        assert place.kill_shipper()
        trainer.kill()
        assert states(place) == {"RUNNING"}
        saw = line_with(place.sync(), "ended")
    finally:
        place.close()
    assert states(place) == {"KILLED"}
    return place.row(
        "the trainer and the process that ships killed, then `vertiform sync`",
        saw=saw,
        happened="once; RUNNING before, KILLED after",
    )


def wait_until_shipping(place: Place, trainer: Trainer) -> None:
    """Wait until something more has been sent than now."""
    before = place.position()
    wait_until(lambda: place.position() > before, alive=trainer.process, said=trainer)


def states(place: Place) -> set[str]:
    """The states of the trainers' runs in MLflow."""
    store, found = place.store(), set()
    for journal in place.journals.glob("run*/"):
        run_id = read_shipped(journal).run_id
        assert run_id is not None
        found.add(store.client.get_run(run_id).info.status)
    return found
