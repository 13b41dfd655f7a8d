import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.tracking.examples import promoted, registered
from vertiform.errors import TrackingError
from vertiform.files import write_json
from vertiform.tracking.chain import APPLIED, Chain, Decision, Entry, chain_of
from vertiform.tracking.decisions import rollback
from vertiform.tracking.history import history, outcome, verify
from vertiform.tracking.ledger import append
from vertiform.tracking.registry import LEDGER, verified_files
from vertiform.tracking.store import DATABASE, open_store
from vertiform.tracking.witness import check_remembered, remember, store_key

FIRST = Decision(
    id="a",
    when="2026-08-01T09:00:00+00:00",
    who="ada",
    process="host 1",
    action="moved",
    model="software-area",
    alias="staging",
    before=None,
    version=1,
    reason="the first",
)


def an_entry(number: int, base: Entry | None = None, *, applied: bool = True, **changed) -> Entry:
    """An entry that follows `base`."""
    follows = {"base": base.number, "base_sha256": base.sha256} if base else {}
    decision = replace(FIRST, id=str(number), **(follows | changed))
    return Entry(number, decision.text(), {APPLIED: "then"} if applied else {}, 0.0)


def chain(*entries: Entry) -> Chain:
    return chain_of("software-area", entries)


def problems(shelf, root: Path) -> list[str]:
    return [problem.problem for problem in verify(shelf.store, shelf.name, root=root)]


def test_of_two_that_follow_the_same_entry_the_first_counts_whoever_reads():
    first = an_entry(1)
    won, lost = an_entry(2, first, version=2), an_entry(3, first, version=3)
    after = an_entry(4, won, version=4)
    for order in ([first, won, lost, after], [after, lost, won, first]):
        read = chain(*order)
        assert read.links == (first, won, after)
        assert read.winner_over(lost) == won
        assert outcome(read, lost) == "lost to 2"
        assert read.broken == ()


def test_two_that_both_believe_to_be_the_first_are_told_apart():
    read = chain(an_entry(1), an_entry(2))
    assert [outcome(read, entry) for entry in read.entries] == ["moved", "lost to 1"]


def test_a_decision_that_reached_the_ledger_twice_counts_once():
    first = an_entry(1)
    again = Entry(2, first.text, {}, 0.0)
    assert [outcome(chain(first, again), each) for each in (first, again)] == [
        "moved",
        "sent twice",
    ]


def test_an_entry_that_was_changed_no_longer_has_the_hash_that_the_next_one_carries():
    first = an_entry(1)
    second = an_entry(2, first)
    forged = an_entry(1, who="eve")
    assert chain(forged, second).broken == ("Entry 1 was changed after entry 2 followed it.",)


def test_an_entry_that_was_taken_out_is_missed_by_the_one_after_it():
    first = an_entry(1)
    second = an_entry(2, first, version=2)
    third = an_entry(3, second, before=2, version=3)
    read = chain(first, third)
    assert read.broken == ("Entry 3 follows entry 2, which is gone.",)
    assert read.holder("staging") == third


def test_an_entry_of_another_model_is_out_of_place():
    assert "Entry 1 is about other, not software-area." in chain(an_entry(1, model="other")).broken


def test_an_entry_that_is_no_decision_is_named():
    with pytest.raises(TrackingError, match=r"Entry 7 .* is not one that Vertiform wrote"):
        chain(Entry(7, "{}", {}, 0.0))


def test_a_whole_history_verifies(shelf, tmp_path):
    shelf.promoted()
    shelf.promoted()
    promoted(shelf.store, shelf.next_version(), passed=False)
    rollback(shelf.store, shelf.name, "staging", reason="too slow")
    assert problems(shelf, tmp_path) == []


def test_a_changed_entry_and_a_deleted_one_are_found(shelf, tmp_path):
    for _ in range(3):
        shelf.promoted()
    first, second, _ = history(shelf.store, shelf.name).entries
    forged = json.dumps(json.loads(first.text) | {"who": "eve"})
    shelf.store.client.set_model_version_tag(LEDGER, str(first.number), "decision", forged)
    assert f"Entry {first.number} was changed after" in problems(shelf, tmp_path)[0]
    shelf.store.client.delete_model_version(LEDGER, str(second.number))
    assert any(
        f"follows entry {second.number}, which is gone" in p for p in problems(shelf, tmp_path)
    )


def test_an_entry_whose_text_was_destroyed_is_found(shelf, tmp_path):
    shelf.promoted()
    (entry,) = history(shelf.store, shelf.name).entries
    shelf.store.client.set_model_version_tag(LEDGER, str(entry.number), "decision", "gone")
    assert "is not one that Vertiform wrote" in problems(shelf, tmp_path)[0]


def test_an_alias_that_no_decision_moved_is_found(shelf, tmp_path):
    version = shelf.next_version()
    shelf.store.client.set_registered_model_alias(shelf.name, "production", str(version.number))
    assert problems(shelf, tmp_path) == [
        f"No decision put `production` of {shelf.name} at version 1."
    ]


def test_a_model_file_that_changed_after_it_was_promoted_is_found(store, tmp_path):
    version = registered(store, tmp_path)
    promoted(store, version)
    with verified_files(store, version) as folder:
        (folder / "artifacts" / "bundle" / "model.safetensors").write_bytes(b"others")
    (problem,) = verify(store, "software-area", root=tmp_path)
    assert "changed after it was logged" in problem.problem
    assert "dvc repro -f register@area" in problem.fix


def test_verifying_a_model_that_does_not_exist_says_so(store, tmp_path):
    (problem,) = verify(store, "software-area", root=tmp_path)
    assert "no registered model `software-area`" in problem.problem


def restored_from_before(store, tmp_path):
    """A store put back from a backup that lacks the last promotion, and that promotion's entry."""
    promoted(store, registered(store, tmp_path))
    database = tmp_path / "project" / DATABASE
    shutil.copy(database, tmp_path / "backup.db")
    entry = promoted(store, registered(store, tmp_path))
    remember(tmp_path, store, entry)
    shutil.copy(tmp_path / "backup.db", database)
    return open_store(None, root=tmp_path / "project"), entry


def test_a_database_from_a_backup_older_than_the_last_promotion_is_noticed(store, tmp_path):
    restored, entry = restored_from_before(store, tmp_path)
    (problem,) = verify(restored, "software-area", root=tmp_path)
    assert "is older than what was seen from here" in problem.problem
    assert f"(entry {entry.number}), but its ledger of software-area ends at entry 1" in (
        problem.problem
    )
    assert "put back the newer database" in problem.fix


def test_another_entry_under_the_number_that_was_remembered_is_noticed(store, tmp_path):
    restored, _ = restored_from_before(store, tmp_path)
    promoted(restored, registered(restored, tmp_path))
    with pytest.raises(TrackingError, match="or was changed"):
        check_remembered(tmp_path, restored, history(restored, "software-area"))


def test_a_receipt_in_git_remembers_what_a_restored_database_does_not(store, tmp_path):
    restored, entry = restored_from_before(store, tmp_path)
    shutil.rmtree(tmp_path / "runs")
    receipt = {
        **{key: getattr(entry.decision, key) for key in ("model", "alias", "version", "when")},
        "entry": entry.number,
        "sha256": entry.sha256,
        "store": store_key(store),
    }
    path = tmp_path / "reports" / "software" / "promote" / "area.json"
    write_json(path, receipt)
    (problem,) = verify(restored, "software-area", root=tmp_path)
    assert f"area.json tells of entry {entry.number} (staging to version 2" in problem.problem
    assert "dvc repro -f promote@area" in problem.fix
    write_json(path, receipt | {"store": "another"})
    assert verify(restored, "software-area", root=tmp_path) == []


def test_what_is_remembered_never_goes_back(shelf, tmp_path):
    first = promoted(shelf.store, shelf.next_version())
    second = promoted(shelf.store, shelf.next_version())
    for entry in (second, first):
        remember(tmp_path, shelf.store, entry)
    (path,) = (tmp_path / "runs" / "ledger").rglob("*.json")
    assert json.loads(path.read_text())["entry"] == second.number


def test_a_ledger_holds_the_decisions_about_each_model_apart(shelf):
    shelf.promoted()
    append(shelf.store, replace(FIRST, model=shelf.name, version=1, id="other"))
    read = history(shelf.store, shelf.name)
    assert {entry.decision.model for entry in read.entries} == {shelf.name}
    assert [outcome(read, entry)[:4] for entry in read.entries] == ["move", "lost"]
