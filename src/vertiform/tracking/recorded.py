"""What a version says it was made from: the record that a rebuild starts from and is held against.

The record is lineage/lineage.json, config.yaml and lineage/uncommitted.diff of its run, and of the
pretraining run whose weights it read; the run's tags say the same, and are held against it.
"""

import hashlib
import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from vertiform.errors import TrackingError
from vertiform.files import read_json, sha256_of
from vertiform.tracking.model_files import BUNDLE, FILES, FILES_SHA256, read_back
from vertiform.tracking.registry import Version, verified_files
from vertiform.tracking.starts import CHECKPOINT
from vertiform.tracking.store import Store, errors_named

if TYPE_CHECKING:
    from mlflow.entities import Run as MlflowRun

PRETRAIN = "pretrain"  # the stage, and the tag vertiform.kind of its runs
LINEAGE = "lineage/lineage.json"
DIFF = "lineage/uncommitted.diff"
SCORES = ("best/val/", "test/")  # of the step whose weights are kept, and on the test split
SHOWN_ELSEWHERE = ("mlflow.", "vertiform.")  # tags that are no part of lineage.json


@dataclass(frozen=True)
class RecordedRun:
    """The record of one run: what it read, and in which code and surroundings."""

    run_id: str
    lineage: Mapping[str, Any]  # of lineage.json
    config: Mapping[str, Any]
    tags: Mapping[str, str]
    diff: str  # against the commit; "" if the tree was clean

    @property
    def commit(self) -> str:
        """The commit it ran at, or a sentence that says that there was none."""
        return self.lineage["code"]["commit"]

    def contradictions(self) -> Iterator[tuple[str, str, str]]:
        """Yield (tag, what lineage.json says, what the tag says) where the two disagree."""
        for name, told in facts_of(self.lineage).items():
            if self.tags.get(name, told) != told:
                yield name, told, self.tags[name]


@dataclass(frozen=True)
class Recorded:
    """Everything that a version is rebuilt from and compared with."""

    version: Version
    task: str
    receipt: Path  # that its training stage writes, relative to the project
    finetuned: RecordedRun
    pretrained: RecordedRun | None  # None: it read no weights that a stage made
    scores: Mapping[str, float]
    files: Mapping[str, str]  # of the bundle: path, sha256

    @property
    def runs(self) -> list[RecordedRun]:
        """The runs in the order in which they are made again."""
        return [run for run in (self.pretrained, self.finetuned) if run is not None]


def read_recorded(store: Store, version: Version, *, needs_pretrained: bool = True) -> Recorded:
    """Read what `version` was made from.

    needs_pretrained: is an error raised if no run is left that made the weights it started from?
    Raises TrackingError if the run, its lineage or the version's files are gone.
    """
    run = _run_of(store, version)
    made_by = re.search(r"register@(?P<task>\S+)", version.rebuild)
    if made_by is None or "receipt" not in version.tags:
        raise TrackingError(
            f"{version.uri} does not say which stage made it, so nothing can make it again.",
            fix="register it with `vertiform register` or `dvc repro`, which say so.",
        )
    finetuned = read_run(store, run, of=version)
    with verified_files(store, version) as folder:
        listed = read_json(folder / FILES)["files"]
    inside = f"{BUNDLE}/"
    return Recorded(
        version=version,
        task=made_by["task"],
        receipt=Path(version.tags["receipt"]),
        finetuned=finetuned,
        pretrained=_pretrained(store, version, finetuned, is_needed=needs_pretrained),
        scores={
            name.removeprefix("best/"): value
            for name, value in run.data.metrics.items()
            if name.startswith(SCORES)
        },
        files={
            path.removeprefix(inside): sha256
            for path, sha256 in listed.items()
            if path.startswith(inside)
        },
    )


def read_run(store: Store, run: "MlflowRun", *, of: Version) -> RecordedRun:
    """Read the record of one run. Raises TrackingError if a file of it is gone."""
    texts = {name: _text(store, run, name, of=of) for name in (LINEAGE, "config.yaml")}
    lineage = json.loads(texts[LINEAGE])
    config: Any = OmegaConf.to_container(OmegaConf.create(texts["config.yaml"]), resolve=False)
    diff = _text(store, run, DIFF, of=of) if lineage["is_dirty"] else ""
    return RecordedRun(run.info.run_id, lineage, config, dict(run.data.tags), diff)


def facts_of(lineage: Mapping[str, Any]) -> dict[str, str]:
    """Return what lineage.json holds under the names that Lineage.tags gives it."""
    code = lineage["code"]
    return {
        "mlflow.source.git.commit": code["commit"],
        "git.is_dirty": str(lineage["is_dirty"]).lower(),
        "git.diff_sha256": code["diff_sha256"] or "none",
        "lock.sha256": lineage["lock_sha256"] or "no requirements.lock",
        **{f"data.{data['path']}": data["digest"] for data in lineage["data"]},
        **{f"package.{name}": value for name, value in lineage["packages"].items()},
        **{f"hardware.{name}": value for name, value in lineage["hardware"].items()},
    }


def pretraining_run(store: Store, digest: str) -> "MlflowRun | None":
    """Find the pretraining run that left the weights which DVC knows by `digest`; None if gone.

    By the bytes that the run kept, not by time or name: several runs may have had one name.
    """
    for run in _pretraining_runs(store):
        if digest_of_checkpoint(store, run) == digest:
            return run
    return None


def digest_of_checkpoint(store: Store, run: "MlflowRun") -> str | None:
    """Return how DVC names the weights that a pretraining run kept; None if it kept none whole."""
    files_sha256 = run.data.tags.get(f"{CHECKPOINT}.{FILES_SHA256}")
    if files_sha256 is None:
        return None
    try:
        with read_back(
            store,
            f"{run.info.artifact_uri}/{CHECKPOINT}",
            files_sha256=files_sha256,
            model=f"runs:/{run.info.run_id}/{CHECKPOINT}",
            rebuild="dvc repro pretrain",
        ) as folder:
            return dvc_digest(folder, without=(FILES,))
    except TrackingError:
        return None


def dvc_digest(folder: Path, *, without: tuple[str, ...] = ()) -> str:
    """Return the name that DVC 3 gives a folder: the MD5 of the list of its files' MD5s."""
    files = [
        {"md5": hashlib.md5(path.read_bytes()).hexdigest(), "relpath": name}
        for name, path in sorted(
            (path.relative_to(folder).as_posix(), path)
            for path in folder.rglob("*")
            if path.is_file()
        )
        if name not in without
    ]
    return hashlib.md5(json.dumps(files, sort_keys=True).encode()).hexdigest() + ".dir"


def sha256_of_files(folder: Path) -> dict[str, str]:
    """Return the hash of every file below `folder`, by its relative path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256_of(path) for path in files}


def _pretrained(
    store: Store, version: Version, run: RecordedRun, *, is_needed: bool
) -> RecordedRun | None:
    digests = [data["digest"] for data in run.lineage["data"] if data["stage"] == PRETRAIN]
    if not digests:
        return None
    found = pretraining_run(store, digests[0])
    if found is not None:
        return read_run(store, found, of=version)
    if not is_needed:
        return None
    raise TrackingError(
        f"No run is left in {store.name} that pretrained the weights {version.uri} started from "
        f"({digests[0]}), so the tokens they were trained on are not known.",
        fix="give --from-raw, which makes the data again from the recorded commit.",
    )


def _pretraining_runs(store: Store) -> "Iterator[MlflowRun]":
    """Yield every finished pretraining run, the newest first."""
    with errors_named(store.uri):
        experiments = [found.experiment_id for found in store.client.search_experiments()]
        token = None
        while True:
            page = store.client.search_runs(
                experiments,
                f"tags.\"vertiform.kind\" = '{PRETRAIN}' and attributes.status = 'FINISHED'",
                max_results=200,
                page_token=token,
            )
            yield from page
            token = page.token
            if not token:
                return


def _run_of(store: Store, version: Version) -> "MlflowRun":
    from mlflow.exceptions import MlflowException

    with errors_named(store.uri):
        try:
            return store.client.get_run(version.run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
    raise TrackingError(
        f"The run {version.run_id} that made {version.uri} is gone from {store.name}, and what it "
        "was made from with it.",
        fix=f"make it again with `{version.rebuild}`, and promote that version.",
    )


def _text(store: Store, run: "MlflowRun", file: str, *, of: Version) -> str:
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    with tempfile.TemporaryDirectory() as aside:
        try:
            with errors_named(store.uri):
                path = download_artifacts(
                    artifact_uri=f"{run.info.artifact_uri}/{file}",
                    dst_path=aside,
                    tracking_uri=store.uri,
                )
            return Path(path).read_bytes().decode("utf-8")
        except (MlflowException, OSError) as error:
            raise TrackingError(
                f"The run {run.info.run_id} of {of.uri} has lost its {file}.",
                fix=f"put it back from a backup, or make the version again with `{of.rebuild}`.",
            ) from error
