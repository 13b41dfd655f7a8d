import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.tracking.examples import REBUILD, registered, verdict
from vertiform.errors import TrackingError
from vertiform.tracking.decisions import history, promote, rollback
from vertiform.tracking.registry import aliases_of, resolve, verified_files


def moved(store, version, *, reason="it earned it"):
    return promote(store, version, verdict=verdict(passed=True), reason=reason)


def test_a_model_that_passed_stands_at_the_alias(store, tmp_path):
    version = registered(store, tmp_path)
    decision = moved(store, version)
    assert resolve(store, "software-area@staging").number == version.number
    assert (decision.before, decision.after) == (None, 1)


def test_a_model_that_was_refused_leaves_the_alias_where_it_was(store, tmp_path):
    first = registered(store, tmp_path)
    moved(store, first)
    decision = promote(
        store, registered(store, tmp_path), verdict=verdict(passed=False), reason="a try"
    )
    assert (decision.action, decision.before, decision.version, decision.after) == (
        "refused",
        1,
        2,
        1,
    )
    assert aliases_of(store, "software-area") == {"staging": 1, "candidate": 2}


def test_what_stood_there_becomes_previous_and_rollback_swaps_the_two(store, tmp_path):
    moved(store, registered(store, tmp_path))
    moved(store, registered(store, tmp_path))
    assert aliases_of(store, "software-area") == {
        "candidate": 2,
        "previous-staging": 1,
        "staging": 2,
    }
    decision = rollback(store, "software-area", "staging", reason="it answers too slowly")
    assert (decision.before, decision.after) == (2, 1)
    assert aliases_of(store, "software-area") == {
        "candidate": 2,
        "previous-staging": 2,
        "staging": 1,
    }


def test_promoting_what_stands_there_already_keeps_previous(store, tmp_path):
    moved(store, registered(store, tmp_path))
    second = registered(store, tmp_path)
    moved(store, second)
    moved(store, second)
    assert aliases_of(store, "software-area")["previous-staging"] == 1


def test_history_tells_every_decision_in_order_with_its_figures(store, tmp_path):
    first = registered(store, tmp_path)
    moved(store, first, reason="the first")
    second = registered(store, tmp_path)
    promote(store, second, verdict=verdict(passed=False), reason="a try")
    moved(store, second, reason="the second")
    rollback(store, "software-area", "staging", reason="too slow")
    decisions = history(store, "software-area")
    assert [d.action for d in decisions] == ["moved", "refused", "moved", "rolled back"]
    assert [d.reason for d in decisions] == ["the first", "a try", "the second", "too slow"]
    assert decisions[1].verdict["rows"][0]["measured"] == 0.72
    assert decisions[1].verdict["passed"] is False
    age = datetime.now(UTC) - datetime.fromisoformat(decisions[0].when)
    assert 0 <= age.total_seconds() < 600
    assert decisions[0].who


def test_history_outlives_the_version_it_tells_of(store, tmp_path):
    moved(store, registered(store, tmp_path))
    store.client.delete_model_version("software-area", "1")
    (decision,) = history(store, "software-area")
    assert (decision.action, decision.version) == ("moved", 1)


def test_a_decision_lies_with_its_run_as_json_and_as_a_table(store, tmp_path):
    version = registered(store, tmp_path)
    decision = moved(store, version)
    uri = store.client.get_run(version.run_id).info.artifact_uri
    folder = Path(uri.removeprefix("file://")) / "decisions"
    assert json.loads((folder / f"{decision.id}.json").read_text())["verdict"]["passed"] is True
    table = (folder / f"{decision.id}.md").read_text()
    assert "software-area version 1: moved at staging" in table
    assert "floors test/f1_macro" in table


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


def test_a_rollback_works_when_the_run_it_goes_back_to_is_gone(store, tmp_path):
    first = registered(store, tmp_path)
    moved(store, first)
    moved(store, registered(store, tmp_path))
    store.client.delete_run(first.run_id)
    rollback(store, "software-area", "staging", reason="too slow")
    assert aliases_of(store, "software-area")["staging"] == 1


def test_a_model_whose_run_is_gone_is_not_promoted(store, tmp_path):
    version = registered(store, tmp_path)
    store.client.delete_run(version.run_id)
    with pytest.raises(TrackingError, match=f"is gone .*\n.*{REBUILD}"):
        moved(store, version)
    with pytest.raises(TrackingError, match="is gone"):
        moved(store, replace(version, run_id="0" * 32))


def test_rollback_says_when_there_is_nothing_to_go_back_to(store, tmp_path):
    version = registered(store, tmp_path)
    with pytest.raises(TrackingError, match="No version of software-area stands at `staging`"):
        rollback(store, "software-area", "staging", reason="")
    moved(store, version)
    with pytest.raises(TrackingError, match="Nothing stood at `staging` of software-area before"):
        rollback(store, "software-area", "staging", reason="")


def test_an_alias_that_is_not_ours_gets_a_hint(store, tmp_path):
    version = registered(store, tmp_path)
    with pytest.raises(TrackingError, match="did you mean `staging`"):
        promote(store, version, verdict=verdict(passed=True, alias="stagin"), reason="")


def test_history_of_a_model_that_does_not_exist_says_so(store):
    with pytest.raises(TrackingError, match="no registered model `software-area`"):
        history(store, "software-area")
