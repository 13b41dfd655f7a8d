import shutil
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from tests.tracking.examples import REBUILD, promoted, registered, verdict
from vertiform.errors import TrackingError
from vertiform.evaluation.verdict import GateRow, Verdict
from vertiform.tracking.chain import WITHDRAWN
from vertiform.tracking.decisions import promote, rollback
from vertiform.tracking.history import history, outcome
from vertiform.tracking.registry import aliases_of, resolve, verified_files


def refused(shelf, version):
    return promoted(shelf.store, version, passed=False, reason="a try")


def told(store, name):
    chain = history(store, name)
    return [outcome(chain, entry) for entry in chain.entries]


def test_a_model_that_passed_stands_at_the_alias(shelf):
    version = shelf.next_version()
    decision = promoted(shelf.store, version).decision
    assert resolve(shelf.store, f"{shelf.name}@staging").number == version.number
    assert (decision.before, decision.version) == (None, 1)


def test_a_model_that_was_refused_leaves_the_alias_where_it_was(shelf):
    shelf.promoted()
    decision = refused(shelf, shelf.next_version()).decision
    assert (decision.action, decision.before, decision.version) == ("refused", 1, 2)
    assert shelf.aliases == {"staging": 1, "candidate": 2}


def test_what_stood_there_becomes_previous_and_rollback_swaps_the_two(shelf):
    shelf.promoted()
    shelf.promoted()
    assert shelf.aliases == {"candidate": 2, "previous-staging": 1, "staging": 2}
    decision = rollback(shelf.store, shelf.name, "staging", reason="too slow").decision
    assert (decision.before, decision.version) == (2, 1)
    assert shelf.aliases == {"candidate": 2, "previous-staging": 2, "staging": 1}
    rollback(shelf.store, shelf.name, "staging", reason="it was not the model")
    assert shelf.aliases == {"candidate": 2, "previous-staging": 1, "staging": 2}


def test_rollback_goes_by_the_ledger_and_not_by_an_alias_that_anyone_can_set(shelf):
    for _ in range(3):
        shelf.promoted()
    shelf.store.client.set_registered_model_alias(shelf.name, "previous-staging", "1")
    assert rollback(shelf.store, shelf.name, "staging", reason="").decision.version == 2


def test_promoting_what_stands_there_already_keeps_what_stood_before(shelf):
    shelf.promoted()
    second = shelf.promoted()
    promoted(shelf.store, second)
    assert shelf.aliases["previous-staging"] == 1
    assert rollback(shelf.store, shelf.name, "staging", reason="").decision.version == 1


def test_history_tells_every_decision_in_order_with_its_figures(shelf):
    shelf.promoted(reason="the first")
    refused(shelf, shelf.next_version())
    shelf.promoted(reason="the third")
    rollback(shelf.store, shelf.name, "staging", reason="too slow")
    decisions = [entry.decision for entry in history(shelf.store, shelf.name).entries]
    assert [d.action for d in decisions] == ["moved", "refused", "moved", "rolled back"]
    assert [d.reason for d in decisions] == ["the first", "a try", "the third", "too slow"]
    assert decisions[1].verdict["rows"][0]["measured"] == 0.72
    assert decisions[1].verdict["passed"] is False
    age = datetime.now(UTC) - datetime.fromisoformat(decisions[0].when)
    assert 0 <= age.total_seconds() < 600
    assert decisions[0].who


def test_each_decision_carries_the_hash_of_the_one_before(shelf):
    shelf.promoted()
    refused(shelf, shelf.next_version())
    first, second = history(shelf.store, shelf.name).entries
    assert (second.decision.base, second.decision.base_sha256) == (first.number, first.sha256)
    assert (first.decision.base, first.decision.base_sha256) == (0, "")


def test_history_outlives_the_version_it_tells_of(shelf):
    shelf.promoted()
    shelf.store.client.delete_model_version(shelf.name, "1")
    assert told(shelf.store, shelf.name) == ["moved"]


def test_a_figure_that_json_cannot_hold_does_not_stop_a_decision(shelf):
    row = GateRow("predicts_its_example", 0.0, float("inf"), None, False, "predicts otherwise")
    promote(
        shelf.store,
        shelf.next_version(),
        alias="staging",
        decide=lambda: Verdict(alias="staging", rows=(row,)),
        reason="a try",
    )
    (entry,) = history(shelf.store, shelf.name).entries
    assert entry.decision.verdict["rows"][0]["reason"] == "predicts otherwise"


def test_force_moves_what_a_gate_refused_and_is_told_as_such(shelf):
    entry = promoted(
        shelf.store, shelf.next_version(), passed=False, force=True, reason="the old one lies"
    )
    assert shelf.aliases["staging"] == 1
    assert entry.decision.forced
    assert entry.decision.verdict["passed"] is False
    assert told(shelf.store, shelf.name) == ["moved, forced"]


def test_force_that_was_not_needed_is_a_plain_move(shelf):
    promoted(shelf.store, shelf.next_version(), force=True)
    assert told(shelf.store, shelf.name) == ["moved"]


def test_production_is_reached_through_staging(shelf):
    version = shelf.next_version()
    entry = promoted(shelf.store, version, alias="production")
    assert entry.decision.action == "refused"
    (row,) = [r for r in entry.decision.verdict["rows"] if r["gate"] == "stands_at_staging"]
    assert row["reason"] == "nobody stands there: promote it to staging first"
    promoted(shelf.store, version)
    promoted(shelf.store, version, alias="production")
    assert (shelf.aliases["staging"], shelf.aliases["production"]) == (1, 1)
    other = promoted(shelf.store, shelf.next_version(), alias="production")
    assert "version 1 stands there" in other.decision.verdict["rows"][-1]["reason"]


def test_a_damaged_model_is_not_promoted_even_by_force_and_the_try_is_kept(store, tmp_path):
    version = registered(store, tmp_path)
    with verified_files(store, version) as folder:
        (folder / "artifacts" / "bundle" / "model.safetensors").write_bytes(b"others")
    for force in (False, True):
        with pytest.raises(TrackingError, match="changed after it was logged"):
            promoted(store, version, passed=not force, force=force)
    assert "staging" not in aliases_of(store, "software-area")
    chain = history(store, "software-area")
    assert told(store, "software-area") == ["withdrawn", "withdrawn"]
    assert "changed after it was logged" in chain.entries[0].marks[WITHDRAWN]


def test_two_versions_whose_files_changed_are_refused_and_the_old_one_stays(store, tmp_path):
    first = registered(store, tmp_path, weights=b"first")
    promoted(store, first)
    for number in (2, 3):
        version = registered(store, tmp_path, weights=b"next")
        with verified_files(store, version) as folder:
            with (folder / "artifacts" / "bundle" / "task.json").open("a") as file:
                file.write(" ")
        with pytest.raises(TrackingError, match=r"task\.json of .* changed after it was logged"):
            promoted(store, version)
        assert version.number == number
        assert aliases_of(store, "software-area")["staging"] == 1


def test_rollback_to_a_model_whose_files_are_gone_is_refused(store, tmp_path):
    first = registered(store, tmp_path)
    promoted(store, first)
    promoted(store, registered(store, tmp_path))
    with verified_files(store, first) as folder:
        shutil.rmtree(folder)
    with pytest.raises(TrackingError, match="has no files"):
        rollback(store, "software-area", "staging", reason="too slow")
    assert aliases_of(store, "software-area")["staging"] == 2


def test_a_run_that_is_gone_stops_a_promotion_but_not_a_rollback(store, tmp_path):
    first = registered(store, tmp_path)
    promoted(store, first)
    promoted(store, registered(store, tmp_path))
    store.client.delete_run(first.run_id)
    rollback(store, "software-area", "staging", reason="too slow")
    assert aliases_of(store, "software-area")["staging"] == 1
    for gone in (first, replace(first, run_id="0" * 32)):
        with pytest.raises(TrackingError, match=f"is gone .*\n.*{REBUILD}"):
            promoted(store, gone, passed=False, force=True)


def test_rollback_says_when_there_is_nothing_to_go_back_to(shelf):
    version = shelf.next_version()
    with pytest.raises(TrackingError, match=f"No version of {shelf.name} stands at `staging`"):
        rollback(shelf.store, shelf.name, "staging", reason="")
    promoted(shelf.store, version)
    with pytest.raises(TrackingError, match=f"Nothing stood at `staging` of {shelf.name} before"):
        rollback(shelf.store, shelf.name, "staging", reason="")


def test_an_alias_that_is_not_ours_gets_a_hint(shelf):
    with pytest.raises(TrackingError, match="did you mean `staging`"):
        promoted(shelf.store, shelf.next_version(), alias="stagin")


def test_history_of_a_model_that_does_not_exist_says_so(store):
    with pytest.raises(TrackingError, match="no registered model `software-area`"):
        history(store, "software-area")


def test_a_decision_taken_while_another_moved_the_alias_is_taken_again(shelf, caplog):
    shelf.promoted()
    ours, other = shelf.next_version(), shelf.next_version()
    asked = []

    def decide():
        asked.append(shelf.aliases["staging"])
        if len(asked) == 1:
            promoted(shelf.store, other)
        return verdict(passed=len(asked) == 1)

    entry = promote(shelf.store, ours, alias="staging", decide=decide, reason="a race")
    assert asked == [1, 3]
    assert (entry.decision.action, entry.decision.before) == ("refused", 3)
    assert shelf.aliases["staging"] == 3
    assert "moved `staging` to version 3" in caplog.text
    second = history(shelf.store, shelf.name).entries[1].number
    assert told(shelf.store, shelf.name) == ["moved", "moved", f"lost to {second}", "refused"]


def test_a_decision_beaten_by_one_that_changes_nothing_for_it_counts_as_it_is(shelf):
    shelf.promoted()
    ours, other = shelf.next_version(), shelf.next_version()
    asked = []

    def decide():
        asked.append(1)
        promoted(shelf.store, other, passed=False)
        return verdict(passed=True)

    promote(shelf.store, ours, alias="staging", decide=decide, reason="a race")
    assert asked == [1]
    assert shelf.aliases["staging"] == ours.number


def test_who_always_comes_second_is_told_so_in_the_end(shelf):
    shelf.promoted()
    ours = shelf.next_version()

    def decide():
        shelf.promoted()
        return verdict(passed=True)

    with pytest.raises(TrackingError, match=r"3 times others came first; .* to version 5"):
        promote(shelf.store, ours, alias="staging", decide=decide, reason="a race")


def test_a_rollback_beaten_by_a_promotion_does_not_take_that_back(shelf, monkeypatch):
    shelf.promoted()
    shelf.promoted()
    third = shelf.next_version()
    beaten = []

    def find_and_lose(*arguments):
        if not beaten:
            beaten.append(1)
            promoted(shelf.store, third)
        return find(*arguments)

    from vertiform.tracking import decisions

    find = decisions.find_version
    monkeypatch.setattr(decisions, "find_version", find_and_lose)
    with pytest.raises(TrackingError, match=r"Not rolled back: .* to version 3"):
        rollback(shelf.store, shelf.name, "staging", reason="too slow")
    assert shelf.aliases["staging"] == 3
