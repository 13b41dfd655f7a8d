"""What a store holds, as plain facts: the runs and versions that retention decides about."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vertiform.tracking.registry import MODEL_ID, all_versions
from vertiform.tracking.store import Store, errors_named

if TYPE_CHECKING:
    from mlflow.entities import Run as MlflowRun
    from mlflow.entities.model_registry import RegisteredModel

PARENT = "mlflow.parentRunId"  # tag
ENDED = ("FINISHED", "FAILED", "KILLED")
RUNS_PER_CALL = 1000


@dataclass(frozen=True)
class RunFacts:
    """A run, deleted ones too. Times are seconds since 1970."""

    id: str
    name: str
    status: str  # "RUNNING", "FINISHED", ...
    is_deleted: bool
    started: float
    ended: float  # of a run that has not ended: when it started
    artifact_uri: str
    tags: Mapping[str, str] = field(repr=False)
    params: Mapping[str, str] = field(repr=False, default_factory=dict)

    @property
    def parent_id(self) -> str:
        """The run that it belongs to; "" if none."""
        return self.tags.get(PARENT, "")

    @property
    def kind(self) -> str:
        """The door's word: "pretrain", "finetune", "start"."""
        return self.tags.get("vertiform.kind", "")

    @property
    def is_running(self) -> bool:
        """Has it not ended, as far as the store knows?"""
        return self.status not in ENDED and not self.is_deleted


@dataclass(frozen=True)
class VersionFacts:
    """A version of a registered model."""

    name: str
    number: int
    run_id: str
    model_id: str
    created: float
    aliases: tuple[str, ...]
    tags: Mapping[str, str] = field(repr=False)
    source: str = ""

    @property
    def uri(self) -> str:
        """How MLflow's own commands name it."""
        return f"models:/{self.name}/{self.number}"


@dataclass(frozen=True)
class Inventory:
    """Everything in a store that one thing can reach another by."""

    runs: Mapping[str, RunFacts]
    versions: Mapping[str, VersionFacts]  # by uri
    model_tags: Mapping[str, Mapping[str, str]]  # of registered models, by name


def read_inventory(store: Store) -> Inventory:
    """Read every run, deleted ones too, and every version of every registered model."""
    runs = {run.info.run_id: _run_facts(run) for run in _all_runs(store)}
    versions: dict[str, VersionFacts] = {}
    model_tags = {}
    for model in _registered_models(store):
        model_tags[model.name] = dict(model.tags)
        for version in _versions(store, model):
            versions[version.uri] = version
    return Inventory(runs, versions, model_tags)


def _all_runs(store: Store) -> "list[MlflowRun]":
    from mlflow.entities import ViewType

    found: list[MlflowRun] = []
    with errors_named(store.uri):
        experiments = store.client.search_experiments(view_type=ViewType.ALL)
        for experiment in experiments:
            token = None
            while True:
                page = store.client.search_runs(
                    [experiment.experiment_id],
                    run_view_type=ViewType.ALL,
                    max_results=RUNS_PER_CALL,
                    page_token=token,
                )
                found += page
                token = page.token
                if not token:
                    break
    return found


def _registered_models(store: Store) -> "list[RegisteredModel]":
    found: list[RegisteredModel] = []
    token = None
    with errors_named(store.uri):
        while True:
            page = store.client.search_registered_models(max_results=1000, page_token=token)
            found += page
            token = page.token
            if not token:
                return found


def _versions(store: Store, model: "RegisteredModel") -> list[VersionFacts]:
    # A search leaves out the aliases of the versions it finds; the model knows them.
    at: dict[int, list[str]] = {}
    for alias, number in model.aliases.items():
        at.setdefault(int(number), []).append(alias)
    return [
        VersionFacts(
            name=model.name,
            number=int(version.version),
            run_id=version.run_id or "",
            model_id=version.tags.get(MODEL_ID, ""),
            created=version.creation_timestamp / 1000,
            aliases=tuple(sorted(at.get(int(version.version), ()))),
            tags=dict(version.tags),
            source=version.source or "",
        )
        for version in all_versions(store, model.name)
    ]


def _run_facts(run: "MlflowRun") -> RunFacts:
    info = run.info
    started = (info.start_time or 0) / 1000
    return RunFacts(
        id=info.run_id,
        name=info.run_name or "",
        status=info.status,
        is_deleted=info.lifecycle_stage != "active",
        started=started,
        ended=info.end_time / 1000 if info.end_time else started,
        artifact_uri=info.artifact_uri or "",
        tags=dict(run.data.tags),
        params=dict(run.data.params),
    )
