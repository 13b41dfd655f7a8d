"""Faults on the wire to the tracking server, and a server that is not there at all."""

import subprocess
import sys
from pathlib import Path

from tests.faults.kills import place_with_server
from tests.faults.place import Place, line_with, wait_until
from tests.faults.proxy import MODES, Proxy
from tests.faults.rows import Row
from tests.faults.scale import SEED, Scale
from tests.faults.server import Server
from vertiform.tracking.shipper import URI

# The real process that ships, but for its pauses: with them a thousand faults would take hours.
WITHOUT_PAUSES = """
from vertiform.tracking import shipper
shipper.SECONDS_BETWEEN_TURNS = shipper.LONGEST_PAUSE = 0.01
shipper.SECONDS_IDLE = 600.0
shipper.main()
"""


def wire_spoiled(folder: Path, scale: Scale) -> Row:
    """Spoil requests in seven ways while a run goes on."""
    with place_with_server(folder) as (place, server):
        proxy = Proxy(server.port, faults=scale.wire_faults, fraction=0.6, seed=SEED)
        place.uri = proxy.uri
        place.extra["MLFLOW_HTTP_REQUEST_TIMEOUT"] = "1"
        place.journals.mkdir(parents=True, exist_ok=True)
        shipper = subprocess.Popen(
            [sys.executable, "-c", WITHOUT_PAUSES, "--journals", str(place.journals)],
            cwd=place.root,
            env=dict(place.environment) | {URI: proxy.uri},
            stderr=(place.folder / "shipper.txt").open("wb"),
        )
        try:
            wait_until(place.shipper, alive=shipper)
            trainer = place.trainer("run", "--seconds-a-step", "0.05", "--text-bytes", "50")
            trainer.start()
            wait_until(lambda: proxy.is_done, alive=trainer.process, said=trainer, seconds=900)
            said = trainer.finish()
            place.wait_until_shipped()
        finally:
            shipper.kill()
            shipper.wait()
            proxy.close()
    counts = {mode: proxy.counts[mode] for mode in MODES}
    assert sum(counts.values()) == scale.wire_faults, proxy.counts
    assert min(counts.values()) >= scale.wire_faults // len(MODES)
    told = ", ".join(f"{count} {mode}" for mode, count in counts.items())
    return place.row(
        "faults on the wire",
        saw=line_with(said, "takes nothing now"),
        happened=f"{sum(counts.values()):,} requests of {proxy.forwarded + scale.wire_faults:,}: "
        f"{told}",
    )


def server_never_up(folder: Path, scale: Scale) -> Row:
    """Train against a server that does not exist; it comes later, and then `vertiform sync`."""
    place = Place(folder).with_model()
    server = Server(place.root)
    place.uri = server.uri
    try:
        trainer = place.trainer("run").start()
        wait_until(lambda: len(trainer.accepted) > 500, alive=trainer.process, said=trainer)
        saw = line_with(trainer.finish(), "`vertiform sync` sends it")
        assert place.kill_shipper()  # as a machine that is switched off does
        assert place.position() == 0
        with server:
            assert "has all of 1 journals" in place.sync()
    finally:
        place.close()
    return place.row(
        "the server never up, then `vertiform sync`",
        saw=saw,
        happened="nothing was sent before the command",
    )
