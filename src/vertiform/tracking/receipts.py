"""The small committed file that leads from a DVC stage to its run and model in MLflow, and back."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from vertiform.errors import TrackingError
from vertiform.files import read_json, write_json
from vertiform.tracking.model_files import FILES_SHA256
from vertiform.tracking.store import Store, errors_named

RECEIPT_FILES_SHA256 = "files_sha256"  # among the facts: of the version's list of files


@dataclass(frozen=True)
class Receipt:
    """What a training stage left in MLflow, and what it was made from."""

    stage: str  # as DVC names it: "finetune@area"
    run_id: str
    run_name: str
    scores: Mapping[str, float]
    data: Mapping[str, str]  # path: digest, as in the run's lineage
    config_sha256: str
    model_id: str | None = None  # of the model logged with the run
    model: str | None = None  # name of the registered model
    version: int | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)  # what else this stage has to say

    @property
    def rebuild(self) -> str:
        """The command that makes run, model and receipt again."""
        return f"dvc repro -f {self.stage}"


def write_receipt(path: Path, receipt: Receipt) -> None:
    """Write the receipt, whole or not at all. A score that is no number is refused."""
    write_json(path, asdict(receipt))


def read_receipt(path: Path, *, store: Store | None) -> Receipt:
    """Read a receipt and see that its run and its model are still in `store` (None: do not look).

    Raises TrackingError with the `dvc repro` command that makes again what is gone, or what a
    store restored from an older backup holds under the same number.
    """
    if not path.is_file():
        raise TrackingError(f"There is no receipt {path}.", fix="run `dvc repro`, which writes it.")
    values = read_json(path)
    known = {f.name for f in fields(Receipt)}
    if not isinstance(values, dict) or set(values) != known:
        raise TrackingError(
            f"{path} is not a receipt of this version of Vertiform.",
            fix="delete it and run `dvc repro`, which writes it again.",
        )
    receipt = Receipt(**values)
    if store is not None:
        _check_is_there(store, receipt, path)
        _check_is_the_same(store, receipt, path)
    return receipt


def _check_is_there(store: Store, receipt: Receipt, path: Path) -> None:
    client = store.client
    named = {f"run {receipt.run_id}": lambda: client.get_run(receipt.run_id).info.lifecycle_stage}
    if receipt.model_id:
        model_id = receipt.model_id
        named[f"model {model_id}"] = lambda: client.get_logged_model(model_id).status
    if receipt.model and receipt.version:
        name, number = receipt.model, str(receipt.version)
        named[f"version {number} of {name}"] = lambda: client.get_model_version(name, number).status
    for what, ask in named.items():
        if not _is_there(store, ask):
            raise TrackingError(
                f"The {what} that {path} tells of is gone from {store.name}.",
                fix=f"run `{receipt.rebuild}`, which makes it again.",
            )


def _check_is_the_same(store: Store, receipt: Receipt, path: Path) -> None:
    """A store restored from a backup counts its versions on from there: a number comes twice."""
    expected = receipt.facts.get(RECEIPT_FILES_SHA256)
    if not (receipt.model and receipt.version and expected):
        return
    with errors_named(store.uri):
        found = store.client.get_model_version(receipt.model, str(receipt.version))
    registered = found.tags.get(FILES_SHA256, "no known files")
    if registered != expected:
        raise TrackingError(
            f"Version {receipt.version} of {receipt.model} in {store.name} is not the one that "
            f"{path} tells of: its files are {registered[:12]}, the receipt's {expected[:12]}. The "
            "store was restored from an older backup, and the number was given a second time.",
            fix="restore the backup that holds the receipt's version, or run "
            f"`{receipt.rebuild}`, which registers it under a new number.",
        )


def _is_there(store: Store, ask: Any) -> bool:
    from mlflow.exceptions import MlflowException

    with errors_named(store.uri):
        try:
            return ask() != "deleted"
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return False
