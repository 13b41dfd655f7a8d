"""Faults of what the registry rests on: the files of a model, the database."""

import shutil
from pathlib import Path

from tests.faults.place import MODEL, Place, line_with
from tests.faults.rows import Row
from tests.faults.scale import Scale
from tests.tracking.examples import promoted, registered
from vertiform.errors import TrackingError
from vertiform.tracking.model_files import BUNDLE
from vertiform.tracking.registry import Version, aliases_of
from vertiform.tracking.shipper import unshipped
from vertiform.tracking.store import DATABASE, Store


def model_changed(folder: Path, scale: Scale) -> Row:
    """Change a file of a registered model: of a candidate, and of the one that stood before."""
    place = Place(folder).with_model()
    store = place.store()
    second = registered(store, place.folder / "model-2", weights=b"second")
    promoted(store, second)
    third = registered(store, place.folder / "model-3", weights=b"third")
    for number in (1, third.number):
        _change(store, number)
    saw = _refused(store, third)
    back = ("rollback", f"{MODEL}@staging", "--reason", "too slow")
    for command in (back, ("predict", f"{MODEL}/{third.number}", "a text")):
        assert "changed after it was logged" in place.ask(*command, exit_code=2)
    assert aliases_of(store, MODEL)["staging"] == second.number
    return place.row(
        "a model file changed after registration",
        saw=saw,
        happened="2 files changed; promotion, rollback and predict refused, "
        f"`staging` stands at {second.number} as before",
    )


def _change(store: Store, number: int) -> None:
    location = store.client.get_model_version_download_uri(MODEL, str(number))
    file = Path(location.removeprefix("file://")) / BUNDLE / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"?")


def _refused(store: Store, version: Version) -> str:
    try:
        promoted(store, version)
    except TrackingError as error:
        return error.problem
    raise AssertionError("a model whose file was changed was promoted")


def database_restored(folder: Path, scale: Scale) -> Row:
    """Put back a database from before the last promotion and a part of the runs."""
    place = Place(folder).with_model()
    try:
        older = place.trainer("run-older").start()
        older.finish()
        place.wait_until_shipped()
        backup = place.folder / "backup.db"
        shutil.copy(place.root / DATABASE, backup)
        newer = place.trainer("run-newer", "--text-bytes", "50").start()
        newer.finish()
        place.wait_until_shipped()
        store = place.store()
        promoted(store, registered(store, place.folder / "model-2", weights=b"second"))
        place.ask("history", MODEL, "--verify")  # which remembers what it saw
        place.kill_shipper()
        shutil.copy(backup, place.root / DATABASE)
        said = place.ask("history", MODEL, "--verify", exit_code=1)
        assert place.store().client.search_runs(["1"], "attributes.run_name = 'run-newer'") == []
        synced = place.sync("--again", exit_code=2)
        gone = unshipped(place.journals, place.store_name)
        assert "has all of 2 journals" in place.sync("--anew", *map(str, gone))
    finally:
        place.close()
    line = line_with(synced, "has no run")
    return place.row(
        "the database restored from a backup older than the last promotion",
        saw=f"{line_with(said, 'is older than what was seen')}` and `{place.shown(line)}",
        happened="a run, a model and its promotion were gone; `vertiform sync --again` and then "
        "`--anew` brought the runs",
    )
