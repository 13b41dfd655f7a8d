from dataclasses import replace
from pathlib import Path

import pytest

from tests.tracking.examples import LINEAGE, REBUILD, logged_model
from vertiform.evaluation.evidence import Lineage as Found
from vertiform.tracking.lineage import NO_GIT, Code, DataVersion, Lineage
from vertiform.tracking.rebuildable import RECEIPT, lineage_of
from vertiform.tracking.receipts import Receipt, write_receipt
from vertiform.tracking.registry import Version, register
from vertiform.tracking.store import Store

COMPLETE = replace(
    LINEAGE,
    data=(DataVersion("data/tasks", "ab" * 16, "md5", "label@tiny", 10),),
    lock_sha256="cd" * 32,
)
DIRTY = Code("c0ffee", "main", "+depth = 3", "ef" * 32, ("conf/a.yaml", "src/b.py"))


@pytest.fixture
def asked(store, tmp_path, monkeypatch):
    """What is found of a version whose training had this lineage."""

    def ask(lineage: Lineage, **changes) -> Found:
        monkeypatch.setattr("tests.tracking.examples.LINEAGE", lineage)
        version = a_version(store, tmp_path)
        registered = receipt_of(version)
        write_receipt(tmp_path / "finetune.json", replace(registered, stage="finetune@area"))
        return lineage_of(store, version, registered=replace(registered, **changes), root=tmp_path)

    return ask


def a_version(store: Store, folder: Path) -> Version:
    model = logged_model(store, folder)
    tags = {RECEIPT: "finetune.json"}
    return register(store, "software-area", model, card="", rebuild=REBUILD, tags=tags)


def receipt_of(version: Version) -> Receipt:
    return Receipt(
        stage="register@area",
        run_id=version.run_id,
        run_name="area",
        scores={},
        data={},
        config_sha256="",
        model=version.name,
        version=version.number,
    )


def test_what_training_left_whole_has_no_gap_and_says_how_to_train_again(asked):
    found = asked(COMPLETE)
    assert (found.gaps, found.is_clean, found.dirty_files) == ((), True, ())
    assert found.retrain == "dvc repro -f finetune@area"


def test_edits_are_no_gap_while_their_diff_is_kept_and_their_files_are_named(asked):
    found = asked(replace(COMPLETE, code=DIRTY))
    assert found.gaps == ()
    assert found.is_clean is False
    assert found.dirty_files == ("conf/a.yaml", "src/b.py")


@pytest.mark.parametrize(
    ("lineage", "gap"),
    [
        (replace(COMPLETE, code=Code(NO_GIT, NO_GIT, "", "")), "its code has no commit (no git)"),
        (replace(COMPLETE, data=()), "its data has no hash"),
        (replace(COMPLETE, lock_sha256=""), "its packages have no lock"),
    ],
)
def test_each_thing_that_a_rebuild_lacks_is_named(asked, lineage, gap):
    assert asked(lineage).gaps == (gap,)


def test_code_without_a_commit_is_neither_clean_nor_edited(asked):
    assert asked(replace(COMPLETE, code=Code(NO_GIT, NO_GIT, "", ""))).is_clean is None


def test_a_receipt_of_another_version_is_a_gap(asked):
    assert asked(COMPLETE, version=7).gaps == (
        "the receipt of its registration tells of version 7",
    )


def test_a_run_that_failed_or_is_gone_is_a_gap(store, tmp_path, monkeypatch):
    monkeypatch.setattr("tests.tracking.examples.LINEAGE", COMPLETE)
    version = a_version(store, tmp_path)
    write_receipt(tmp_path / "finetune.json", receipt_of(version))

    def gaps() -> tuple[str, ...]:
        return lineage_of(store, version, registered=receipt_of(version), root=tmp_path).gaps

    store.client.set_terminated(version.run_id, "FAILED")
    assert gaps() == ("its run ended as FAILED",)
    store.client.delete_run(version.run_id)
    assert gaps() == (f"its run {version.run_id} is gone",)


def test_a_training_receipt_that_is_gone_or_of_another_run_is_a_gap(store, tmp_path, monkeypatch):
    monkeypatch.setattr("tests.tracking.examples.LINEAGE", COMPLETE)
    version = a_version(store, tmp_path)
    registered = receipt_of(version)
    found = lineage_of(store, version, registered=registered, root=tmp_path)
    assert found.gaps == ("the receipt of its training is not there (finetune.json)",)
    assert found.retrain == REBUILD
    write_receipt(tmp_path / "finetune.json", replace(registered, run_id="0" * 32))
    found = lineage_of(store, version, registered=registered, root=tmp_path)
    assert found.gaps == ("finetune.json tells of another run",)


def test_a_diff_or_a_configuration_that_is_not_kept_is_a_gap(store, tmp_path, monkeypatch):
    monkeypatch.setattr("tests.tracking.examples.LINEAGE", replace(COMPLETE, code=DIRTY))
    version = a_version(store, tmp_path)
    write_receipt(tmp_path / "finetune.json", receipt_of(version))
    (folder,) = store.artifacts.rglob(f"{version.run_id}/artifacts")
    for file in ("config.yaml", "lineage/uncommitted.diff"):
        (folder / file).unlink()
    found = lineage_of(store, version, registered=receipt_of(version), root=tmp_path)
    assert found.gaps == (
        "its run does not hold config.yaml",
        "its run does not hold lineage/uncommitted.diff",
    )
