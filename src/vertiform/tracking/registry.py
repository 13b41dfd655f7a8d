"""Registered models: versions that were read back, aliases that can be believed."""

import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vertiform.errors import TrackingError, did_you_mean
from vertiform.files import folder_written_whole
from vertiform.tracking.limits import REGISTRY_TEXT_CHARACTERS, shortened
from vertiform.tracking.model_files import BUNDLE, FILES_SHA256, LoggedModel, read_back
from vertiform.tracking.patience import patiently
from vertiform.tracking.store import Store, errors_named

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion as MlflowVersion

CANDIDATE = "candidate"  # just registered
STAGING = "staging"
PRODUCTION = "production"
LADDER = (STAGING, PRODUCTION)  # the aliases that decisions move, in this order
LEDGER = "vertiform-decisions"  # no model: its versions are decisions (tracking/ledger.py)
SECONDS_UNTIL_READY = 60
REBUILD = "rebuild"  # tags that every version of ours carries, with FILES_SHA256
MODEL_ID = "model_id"  # MLflow keeps it too, but its server does not give it back


@dataclass(frozen=True)
class Version:
    """One version of a registered model, as it stood when it was read."""

    name: str
    number: int
    model_id: str
    run_id: str
    aliases: tuple[str, ...]
    tags: Mapping[str, str]

    @property
    def uri(self) -> str:
        """How MLflow's own commands name it."""
        return f"models:/{self.name}/{self.number}"

    @property
    def rebuild(self) -> str:
        """The command that makes it again."""
        return self.tags.get(REBUILD, "dvc repro -f")


def register(
    store: Store, name: str, model: LoggedModel, *, card: str, rebuild: str, tags: Mapping[str, str]
) -> Version:
    """Make a logged model the newest version of `name`, read it back, and call it candidate.

    rebuild: the command that makes it again, such as `dvc repro -f register@area`.
    """
    ours = {FILES_SHA256: model.files_sha256, REBUILD: rebuild, MODEL_ID: model.model_id}
    with errors_named(store.uri):
        _create_if_absent(store, name)
        created = patiently(
            lambda: store.client.create_model_version(
                name,
                # Not models:/<id>: MLflow would look that up in its global store, not in this one.
                source=model.location,
                run_id=model.run_id,
                model_id=model.model_id,
                tags={**tags, **ours},
                description=shortened(card, REGISTRY_TEXT_CHARACTERS, whole_in="README.md"),
                await_creation_for=SECONDS_UNTIL_READY,
            )
        )
        version = find_version(store, name, int(created.version))
        with verified_files(store, version):
            pass
        set_alias(store, name, CANDIDATE, version.number)
    return find_version(store, name, version.number)


def resolve(store: Store, reference: str) -> Version:
    """Find the version meant by name@alias or name/number, with or without models:/ before it."""
    parts = re.fullmatch(
        r"(?:models:/)?(?P<name>[^@/:]+)(?:@(?P<alias>[\w-]+)|/(?P<number>\d+))", reference
    )
    if parts is None:
        raise TrackingError(
            f"`{reference}` does not name a version of a model.",
            fix="write <model>@<alias> or <model>/<number>, such as software-area@staging.",
        )
    name = parts["name"]
    number = int(parts["number"]) if parts["number"] else _number_at(store, name, parts["alias"])
    return find_version(store, name, number)


def find_version(store: Store, name: str, number: int) -> Version:
    """Read one version. Raises TrackingError that names what there is instead."""
    from mlflow.exceptions import MlflowException

    with errors_named(store.uri):
        try:
            found = store.client.get_model_version(name, str(number))
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            aliases_of(store, name)  # says so if the model itself does not exist
            numbers = sorted(int(v.version) for v in all_versions(store, name))
            there = ", ".join(str(n) for n in numbers[-10:]) or "none"
            raise TrackingError(
                f"{name} has no version {number}.", fix=f"choose one of its versions: {there}."
            ) from None
    # The alias of a version read alone may be left out by a store; the model knows them all.
    aliases = aliases_of(store, name)
    return Version(
        name=name,
        number=number,
        model_id=found.tags.get(MODEL_ID, ""),
        run_id=found.run_id or "",
        aliases=tuple(sorted(alias for alias, at in aliases.items() if at == number)),
        tags=dict(found.tags),
    )


def aliases_of(store: Store, name: str) -> dict[str, int]:
    """Return the number of the version at each alias of the model."""
    from mlflow.exceptions import MlflowException

    with errors_named(store.uri):
        try:
            model = patiently(lambda: store.client.get_registered_model(name))
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            models = store.client.search_registered_models()
            names = [model.name for model in models if model.name != LEDGER]
            raise TrackingError(
                f"There is no registered model `{name}` in {store.name}.",
                fix=did_you_mean(name, names) if names else "run `dvc repro`, which registers one.",
            ) from None
    return {alias: int(number) for alias, number in model.aliases.items()}


def set_alias(store: Store, name: str, alias: str, number: int) -> None:
    """Give an alias to a version. Only registering, and a decision in the ledger, may ask for it.

    An MlflowException that speaks of a missing right or version passes: the caller knows its fix.
    """
    patiently(lambda: store.client.set_registered_model_alias(name, alias, str(number)))


def all_versions(store: Store, name: str) -> "list[MlflowVersion]":
    """Return every version of the model as MLflow holds it, all pages of them."""
    found: list[MlflowVersion] = []
    token = None
    with errors_named(store.uri):
        while True:
            page = store.client.search_model_versions(
                f"name = '{name}'", max_results=200, page_token=token
            )
            found += page
            token = page.token
            if not token:
                return found


@contextmanager
def verified_files(store: Store, version: Version) -> Iterator[Path]:
    """Give the folder of a version's files, checked by hash; files of a server for the block only.

    Raises TrackingError with the command that rebuilds it, if one is missing or has changed.
    """
    files_sha256 = version.tags.get(FILES_SHA256)
    if files_sha256 is None:
        raise TrackingError(
            f"{version.uri} was not registered by Vertiform: its files have no known hashes.",
            fix=f"register it with `{version.rebuild}`.",
        )
    with errors_named(store.uri):
        location = store.client.get_model_version_download_uri(version.name, str(version.number))
    with read_back(
        store,
        location,
        files_sha256=files_sha256,
        model=version.uri,
        rebuild=version.rebuild,
    ) as folder:
        yield folder


def download_bundle(store: Store, version: Version, *, into: Path) -> Path:
    """Copy the verified bundle, which Predictor.load takes, to `into`, whole or not at all."""
    with verified_files(store, version) as folder, folder_written_whole(into) as aside:
        shutil.copytree(folder / BUNDLE, aside, dirs_exist_ok=True)
    return into


def _create_if_absent(store: Store, name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        store.client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _number_at(store: Store, name: str, alias: str) -> int:
    aliases = aliases_of(store, name)
    if alias not in aliases:
        raise TrackingError(
            f"No version of {name} stands at `{alias}`.",
            fix=did_you_mean(alias, aliases) if aliases else f"promote one: {name} has no alias.",
        )
    return aliases[alias]
