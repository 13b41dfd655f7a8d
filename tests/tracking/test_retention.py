"""What is needed is kept, in random small worlds of real runs, versions and aliases."""

import json
import random
import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tests.tracking.examples import LINEAGE, a_run, logged_model
from tests.tracking.records import TASKS, WEIGHTS
from vertiform.errors import TrackingError
from vertiform.tracking import retention
from vertiform.tracking.inventory import Inventory, RunFacts, VersionFacts, read_inventory
from vertiform.tracking.model_files import LoggedModel
from vertiform.tracking.recorded import digest_of_checkpoint, dvc_digest, read_recorded
from vertiform.tracking.registry import aliases_of, find_version, register, verified_files
from vertiform.tracking.removal import erase_runs, remove_runs, remove_versions
from vertiform.tracking.retention import RULES, Policy, Receipts, Retained, retain
from vertiform.tracking.starts import log_checkpoint
from vertiform.tracking.store import DATABASE, Store

DAY = 86_400.0
NOW = 1_000 * DAY
OLD = Policy(keep_days=30, removes_versions=True, now=NOW)
SEEDS = (3, 4, 5)  # worlds in which every rule counts, and versions go too


# Single rules, on facts made up.


def a_run_of(id_: str, *, days_ago: float = 100, status: str = "FINISHED", **tags: str) -> RunFacts:
    started = NOW - days_ago * DAY
    tags = {name.replace("__", "."): value for name, value in tags.items()}
    return RunFacts(id_.ljust(32, "0"), id_, status, False, started, started, "", tags)


def a_version_of(number: int, run: RunFacts, *aliases: str, days_ago: float = 100, **tags: str):
    created = NOW - days_ago * DAY
    return VersionFacts("tiny-names", number, run.id, "", created, aliases, tags)


def kept(runs=(), versions=(), *, policy=OLD, receipts=Receipts(), model_tags=None) -> Retained:  # noqa: B008
    inventory = Inventory(
        {run.id: run for run in runs},
        {version.uri: version for version in versions},
        model_tags or {},
    )
    return retain(inventory, policy, receipts)


def test_a_run_that_nothing_needs_goes():
    assert [run.name for run in kept([a_run_of("a")]).runs_to_go] == ["a"]


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        (a_run_of("a", days_ago=29), retention.YOUNG),
        (a_run_of("a", status="RUNNING"), retention.RUNNING),
        (a_run_of("a", status="SCHEDULED"), retention.RUNNING),
    ],
)
def test_what_is_young_or_running_stays(run, reason):
    assert kept([run]).runs == {run.id: reason}


def test_the_owner_of_a_running_run_stays_though_it_is_old():
    sweep = a_run_of("5eeb")
    trial = a_run_of("7", status="RUNNING", mlflow__parentRunId=sweep.id)
    assert kept([sweep, trial]).runs[sweep.id] == retention.RUNNING


def test_an_alias_reaches_the_run_its_parent_and_its_siblings():
    parent = a_run_of("a")
    starts = [a_run_of(name, mlflow__parentRunId=parent.id) for name in ("b", "c")]
    other = a_run_of("d")
    found = kept([parent, *starts, other], [a_version_of(1, starts[0], "staging")])
    assert set(found.runs) == {parent.id, *(run.id for run in starts)}
    assert set(found.runs.values()) == {retention.ALIAS}


def test_without_asking_no_version_goes_and_with_asking_only_one_that_nothing_names():
    runs = [a_run_of(name) for name in ("a", "b", "c")]
    decision = json.dumps({"model": "tiny-names", "before": 2, "version": 3})
    versions = [
        a_version_of(1, runs[0]),
        a_version_of(2, runs[1]),
        a_version_of(3, runs[2], "candidate", **{"decision.x": decision}),
    ]
    careful = kept(runs, versions, policy=replace(OLD, removes_versions=False))
    assert careful.versions_to_go == []
    assert careful.runs_to_go == []
    asked = kept(runs, versions)
    assert [version.number for version in asked.versions_to_go] == [1]
    assert asked.runs_to_go == [runs[0]]
    assert asked.versions["models:/tiny-names/2"] == retention.NAMED_BY_LEDGER


def test_the_ledger_and_every_version_that_it_names_stay():
    run = a_run_of("a")
    decision = json.dumps({"model": "tiny-names", "before": None, "version": 1})
    entry = VersionFacts("vertiform-decisions", 7, "", "", 0, (), {"decision": decision})
    found = kept([run], [a_version_of(1, run), entry])
    assert set(found.versions) == {"models:/tiny-names/1", "models:/vertiform-decisions/7"}
    assert set(found.runs) == {run.id}


def test_a_tag_that_only_looks_like_a_decision_names_nothing():
    run = a_run_of("a")
    texts = {"decision.1": "no JSON", "decision.2": "[1]", "decision.3": "{}"}
    assert kept([run], [], model_tags={"tiny-names": texts}).runs == {}


def test_what_a_committed_receipt_names_stays():
    runs = [a_run_of("a"), a_run_of("b")]
    named = Receipts(frozenset({runs[0].id}), frozenset({"models:/tiny-names/1"}))
    found = kept(runs, [a_version_of(1, runs[1])], receipts=named)
    assert found.runs == dict.fromkeys((run.id for run in runs), retention.NAMED_BY_RECEIPT)


def test_the_version_that_a_kept_run_started_from_stays():
    first, second = a_run_of("a"), a_run_of("b", vertiform__start="models:/tiny-names/1")
    versions = [a_version_of(1, first), a_version_of(2, second, "staging")]
    assert kept([first, second], versions).versions_to_go == []


def test_children_go_before_their_parents():
    sweep = a_run_of("a")
    trial = a_run_of("b", mlflow__parentRunId=sweep.id)
    start = a_run_of("c", mlflow__parentRunId=trial.id)
    going = kept([sweep, trial, start]).runs_to_go
    assert [run.name for run in going] == ["c", "b", "a"]


def test_runs_that_are_their_own_ancestors_end_too():
    one, two = a_run_of("a"), a_run_of("b")
    one = replace(one, tags={"mlflow.parentRunId": two.id})
    two = replace(two, tags={"mlflow.parentRunId": one.id})
    assert len(kept([one, two]).runs_to_go) == 2


# Whole worlds, in a real store.


def random_world(store: Store, folder: Path, *, seed: int) -> None:
    """A few pretrainings, fine-tunings of several starts, versions, aliases and decisions."""
    rng = random.Random(seed)
    model = logged_model(store, folder / "logged")
    weights = [pretrained(store, folder / f"weights{i}", text=f"{i}") for i in range(3)]
    for _ in range(4):
        runs = finetuned(store, weights=rng.choice(weights), rng=rng)
        if rng.random() < 0.8:
            add_version(store, replace(model, run_id=rng.choice(runs)), rng=rng)
    with closing(sqlite3.connect(store.uri.removeprefix("sqlite:///"))) as database, database:
        for (run_id,) in database.execute("SELECT run_uuid FROM runs ORDER BY rowid").fetchall():
            if rng.random() < 0.9:
                times = (1_000, 2_000, run_id)  # 1970
                database.execute("UPDATE runs SET start_time=?, end_time=? WHERE run_uuid=?", times)
        database.execute("UPDATE model_versions SET creation_time = 1000")


def pretrained(store: Store, folder: Path, *, text: str) -> str:
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_text(text)
    with a_run(store, f"pretrain {text}", kind="pretrain", experiment="tiny-pretrain") as run:
        log_checkpoint(run, folder, rebuild="dvc repro pretrain")
    return dvc_digest(folder)


def finetuned(store: Store, *, weights: str, rng: random.Random) -> list[str]:
    """A fine-tuning with two starts; returns the ids of these."""
    made = []
    lineage = replace(LINEAGE, data=(TASKS, replace(WEIGHTS, digest=weights)))
    there = store.client.search_model_versions("name = 'model-0'")
    with a_run(store, "starts", lineage=lineage) as parent:
        for name in ("one", "two"):
            tags = {}
            if there and rng.random() < 0.6:
                tags = {"vertiform.start": "models:/model-0/1"}
            with a_run(store, name, lineage=lineage, parent=parent, tags=tags) as run:
                made.append(run.id)
    return made


def add_version(store: Store, model: LoggedModel, *, rng: random.Random) -> None:
    name = f"model-{rng.randrange(2)}"
    tags = {"receipt": "reports/tiny/finetune/names.json"}
    rebuild = "dvc repro -f register@names"
    version = register(store, name, model, card="", rebuild=rebuild, tags=tags)
    if rng.random() < 0.5:
        number = str(rng.randint(1, version.number))
        store.client.set_registered_model_alias(name, "staging", number)
        decision = json.dumps({"model": name, "before": None, "version": int(number)})
        store.client.set_model_version_tag(name, number, f"decision.{rng.random()}", decision)


def collected(store: Store, rules=RULES) -> Retained:
    """Remove for good all that nothing needs."""
    policy = Policy(keep_days=30, removes_versions=True, now=time.time())
    found = retain(
        read_inventory(store),
        policy,
        Receipts(),
        digest_of=lambda run: digest_of_checkpoint(store, store.client.get_run(run.id)),
        rules=rules,
    )
    remove_versions(store, found.versions_to_go)
    remove_runs(store, found.runs_to_go)
    erase_runs(store, found.runs_to_go, found.inventory)
    return found


def check_aliases(store: Store) -> int:
    """See that each alias stands at a version that verifies, and that all it came from is there."""
    num_checked = 0
    for model in store.client.search_registered_models():
        for number in aliases_of(store, model.name).values():
            version = find_version(store, model.name, number)
            with verified_files(store, version):
                pass
            recorded = read_recorded(store, version)  # with the pretraining that it came from
            assert recorded.pretrained is not None
            siblings = family_of(store, version.run_id)
            assert len(siblings) == 2
            for run in siblings:
                start = run.data.tags.get("vertiform.start", "")
                if start.startswith("models:/"):
                    name, at = start.removeprefix("models:/").split("/")
                    assert find_version(store, name, int(at))
            num_checked += 1
    return num_checked


def family_of(store: Store, run_id: str) -> list:
    """The runs of the fine-tuning that a run belongs to, whose own run must be there."""
    run = store.client.get_run(run_id)
    parent = run.data.tags["mlflow.parentRunId"]
    inventory = read_inventory(store)
    assert parent in inventory.runs
    assert not inventory.runs[parent].is_deleted
    return store.client.search_runs(
        [run.info.experiment_id], f"tags.`mlflow.parentRunId` = '{parent}'"
    )


@pytest.fixture
def own_store(empty_database, tmp_path) -> Store:
    return copied_store(empty_database, tmp_path / "world")


def copied_store(empty_database: Path, root: Path) -> Store:
    import shutil

    from vertiform.tracking.store import open_store

    root.mkdir(parents=True)
    shutil.copy(empty_database, root / DATABASE)
    return open_store(None, root=root)


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_after_removal_every_alias_resolves_verifies_and_can_be_rebuilt(own_store, tmp_path, seed):
    random_world(own_store, tmp_path, seed=seed)
    aliases = check_aliases(own_store)
    found = collected(own_store)
    assert check_aliases(own_store) == aliases
    assert found.runs_to_go  # something did go
    left = read_inventory(own_store)
    assert set(left.runs) == set(found.runs)
    assert set(left.versions) == set(found.versions)


class Crashed(BaseException):
    """The process ended here."""


@pytest.mark.slow
@pytest.mark.parametrize("num_calls", [1, 6, 14])
def test_a_crash_in_the_middle_breaks_no_alias_and_a_second_run_finishes(
    own_store, tmp_path, monkeypatch, num_calls
):
    random_world(own_store, tmp_path, seed=4)
    aliases = check_aliases(own_store)
    calls = []

    def crashing(call):
        def called(*arguments):
            calls.append(arguments)
            if len(calls) > num_calls:
                raise Crashed
            return call(*arguments)

        return called

    client = own_store.client
    with monkeypatch.context() as patched:
        for place, name in (
            (client, "delete_model_version"),
            (client, "delete_run"),
            (client._tracking_client.store, "_hard_delete_run"),
        ):
            patched.setattr(place, name, crashing(getattr(place, name)))
        with pytest.raises(Crashed):
            collected(own_store)
    assert len(calls) == num_calls + 1  # it did crash, and in the middle
    assert check_aliases(own_store) == aliases
    found = collected(own_store)
    assert check_aliases(own_store) == aliases
    assert set(read_inventory(own_store).runs) == set(found.runs)


@pytest.mark.slow
@pytest.mark.parametrize("dropped", RULES, ids=lambda rule: rule.__name__)
def test_without_any_one_of_the_rules_an_alias_loses_something(empty_database, tmp_path, dropped):
    """Planted: the property above must notice that a rule is missing."""
    rules = [rule for rule in RULES if rule is not dropped]
    for seed in SEEDS:
        store = copied_store(empty_database, tmp_path / f"world{seed}")
        random_world(store, tmp_path / f"files{seed}", seed=seed)
        collected(store, rules)
        try:
            check_aliases(store)
        except (AssertionError, TrackingError):
            return
    pytest.fail(f"nobody noticed that {dropped.__name__} is missing")
