import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.tracking.examples import REBUILD, registered, verdict
from vertiform.errors import TrackingError
from vertiform.evaluation.verdict import GateRow, Verdict
from vertiform.tracking.decisions import history, promote, rollback
from vertiform.tracking.registry import aliases_of, resolve, verified_files


def moved(store, version):
    return promote(store, version, verdict=verdict(passed=True), reason="it earned it")


def refused(shelf, version):
    return promote(shelf.store, version, verdict=verdict(passed=False), reason="a try")


def test_a_model_that_passed_stands_at_the_alias(shelf):
    version = shelf.next_version()
    decision = moved(shelf.store, version)
    assert resolve(shelf.store, f"{shelf.name}@staging").number == version.number
    assert (decision.before, decision.after) == (None, 1)


def test_a_model_that_was_refused_leaves_the_alias_where_it_was(shelf):
    shelf.promoted()
    decision = refused(shelf, shelf.next_version())
    assert decision.action == "refused"
    assert (decision.before, decision.version, decision.after) == (1, 2, 1)
    assert shelf.aliases == {"staging": 1, "candidate": 2}


def test_what_stood_there_becomes_previous_and_rollback_swaps_the_two(shelf):
    shelf.promoted()
    shelf.promoted()
    assert shelf.aliases == {"candidate": 2, "previous-staging": 1, "staging": 2}
    decision = rollback(shelf.store, shelf.name, "staging", reason="it answers too slowly")
    assert (decision.before, decision.after) == (2, 1)
    assert shelf.aliases == {"candidate": 2, "previous-staging": 2, "staging": 1}


def test_promoting_what_stands_there_already_keeps_previous(shelf):
    shelf.promoted()
    second = shelf.promoted()
    moved(shelf.store, second)
    assert shelf.aliases["previous-staging"] == 1


def test_history_tells_every_decision_in_order_with_its_figures(shelf):
    shelf.promoted(reason="the first")
    refused(shelf, shelf.next_version())
    shelf.promoted(reason="the third")
    rollback(shelf.store, shelf.name, "staging", reason="too slow")
    decisions = history(shelf.store, shelf.name)
    assert [d.action for d in decisions] == ["moved", "refused", "moved", "rolled back"]
    assert [d.reason for d in decisions] == ["the first", "a try", "the third", "too slow"]
    assert decisions[1].verdict["rows"][0]["measured"] == 0.72
    assert decisions[1].verdict["passed"] is False
    age = datetime.now(UTC) - datetime.fromisoformat(decisions[0].when)
    assert 0 <= age.total_seconds() < 600
    assert decisions[0].who


def test_history_outlives_the_version_it_tells_of(shelf):
    shelf.promoted()
    shelf.store.client.delete_model_version(shelf.name, "1")
    (decision,) = history(shelf.store, shelf.name)
    assert (decision.action, decision.version) == ("moved", 1)


def test_a_decision_lies_with_its_run_as_json_and_as_a_table(shelf):
    version = shelf.next_version()
    decision = moved(shelf.store, version)
    uri = shelf.store.client.get_run(version.run_id).info.artifact_uri
    folder = Path(uri.removeprefix("file://")) / "decisions"
    assert json.loads((folder / f"{decision.id}.json").read_text())["verdict"]["passed"] is True
    table = (folder / f"{decision.id}.md").read_text()
    assert f"{shelf.name} version 1: moved at staging" in table
    assert "floors test/f1_macro" in table


def test_a_figure_that_json_cannot_hold_does_not_stop_a_decision(shelf):
    row = GateRow("predicts_its_example", 0.0, float("inf"), None, False, "predicts otherwise")
    verdict_ = Verdict(alias="staging", rows=(row,))
    promote(shelf.store, shelf.next_version(), verdict=verdict_, reason="a try")
    (decision,) = history(shelf.store, shelf.name)
    assert decision.verdict["rows"][0]["reason"] == "predicts otherwise"


def test_a_damaged_model_is_not_promoted_and_nothing_moves(store, tmp_path):
    version = registered(store, tmp_path)
    with verified_files(store, version) as folder:
        (folder / "artifacts" / "bundle" / "model.safetensors").write_bytes(b"others")
    with pytest.raises(TrackingError, match="changed after it was logged"):
        moved(store, version)
    assert "staging" not in aliases_of(store, "software-area")
    assert history(store, "software-area") == []


def test_rollback_to_a_model_whose_files_are_gone_is_refused(store, tmp_path):
    first = registered(store, tmp_path)
    moved(store, first)
    moved(store, registered(store, tmp_path))
    with verified_files(store, first) as folder:
        shutil.rmtree(folder)
    with pytest.raises(TrackingError, match="has no files"):
        rollback(store, "software-area", "staging", reason="too slow")
    assert aliases_of(store, "software-area")["staging"] == 2


def test_a_run_that_is_gone_stops_a_promotion_but_not_a_rollback(store, tmp_path):
    first = registered(store, tmp_path)
    moved(store, first)
    moved(store, registered(store, tmp_path))
    store.client.delete_run(first.run_id)
    rollback(store, "software-area", "staging", reason="too slow")
    assert aliases_of(store, "software-area")["staging"] == 1
    for gone in (first, replace(first, run_id="0" * 32)):
        with pytest.raises(TrackingError, match=f"is gone .*\n.*{REBUILD}"):
            moved(store, gone)


def test_rollback_says_when_there_is_nothing_to_go_back_to(shelf):
    version = shelf.next_version()
    with pytest.raises(TrackingError, match=f"No version of {shelf.name} stands at `staging`"):
        rollback(shelf.store, shelf.name, "staging", reason="")
    moved(shelf.store, version)
    with pytest.raises(TrackingError, match=f"Nothing stood at `staging` of {shelf.name} before"):
        rollback(shelf.store, shelf.name, "staging", reason="")


def test_an_alias_that_is_not_ours_gets_a_hint(shelf):
    misspelt = verdict(passed=True, alias="stagin")
    with pytest.raises(TrackingError, match="did you mean `staging`"):
        promote(shelf.store, shelf.next_version(), verdict=misspelt, reason="")


def test_history_of_a_model_that_does_not_exist_says_so(store):
    with pytest.raises(TrackingError, match="no registered model `software-area`"):
        history(store, "software-area")
