from dataclasses import replace

import pytest

from tests.evaluation.gate_examples import RETRAIN, SIGNATURE, latency, only_row
from vertiform.evaluation.evidence import Evidence, Lineage, Signatures

TIMED = {"max_p95_milliseconds": 50, "device": "cpu", "num_requests": 200, "num_warm_up": 10}
MAXIMA = {
    "contamination": {"max_documents": 0},
    "predicts_its_example": {"max_difference": 0.0},
    "size": {"max_megabytes": 500},
}
CLEAN = Lineage(gaps=(), is_clean=True, dirty_files=(), retrain=RETRAIN)


@pytest.mark.parametrize(
    ("values", "evidence", "reason"),
    [
        (
            {"contamination": {"max_documents": 0}},
            Evidence(num_contaminated_documents=1),
            "1 pretraining documents share text with the test or validation split",
        ),
        (
            {"predicts_its_example": {"max_difference": 0.0}},
            Evidence(example_difference=1e-9),
            "predicts otherwise than stored",
        ),
        ({"size": {"max_megabytes": 50}}, Evidence(size_megabytes=90), "90.0 MB, over 50 MB"),
    ],
)
def test_a_measure_above_its_maximum_is_refused(values, evidence, reason):
    row = only_row(values, evidence)
    assert not row.passed
    assert row.reason == reason


@pytest.mark.parametrize("gate", MAXIMA)
def test_a_measure_that_is_not_a_number_is_refused(gate):
    nan = float("nan")
    evidence = Evidence(num_contaminated_documents=nan, example_difference=nan, size_megabytes=nan)  # type: ignore[arg-type]
    assert not only_row({gate: MAXIMA[gate]}, evidence).passed


@pytest.mark.parametrize(("high", "passed"), [(50, True), (51, False)])
def test_latency_is_held_against_the_high_end_on_the_device_that_is_named(high, passed):
    row = only_row({"latency": TIMED}, Evidence(latency=latency(high=high)))
    assert row.passed is passed
    assert row.gate == "latency p95_milliseconds cpu"
    assert (row.measured, row.interval) == (30, (20, high))
    assert row.reason == "milliseconds, of 200 requests on a cpu of 2 threads"


@pytest.mark.parametrize("other", [{"device": "cuda"}, {"num_requests": 20}])
def test_latency_measured_otherwise_than_stated_is_no_evidence(other):
    row = only_row({"latency": TIMED}, Evidence(latency=latency(high=40, **other)))
    assert not row.passed
    assert row.reason.startswith("no evidence: it was timed with ")


def test_why_a_measurement_could_not_be_had_is_the_reason_of_the_refusal():
    evidence = Evidence(unmeasured={"latency": "this machine has no cuda"})
    row = only_row({"latency": TIMED}, evidence)
    assert not row.passed
    assert row.reason == "no evidence: this machine has no cuda"


def against(**changes) -> Evidence:
    return Evidence(signatures=Signatures(SIGNATURE, replace(SIGNATURE, **changes), "3"))


@pytest.mark.parametrize(
    ("holders", "said"),
    [
        ({"inputs": "one text"}, "its inputs changed"),
        ({"outputs": "lists"}, "its outputs changed"),
        ({"kind": "entities"}, "it is a task of kind classification, not entities"),
        ({"labels": ("a", "b", "c")}, "it no longer says `c`"),
        ({"labels": ("a",)}, "it also says `b`"),
    ],
)
def test_another_signature_than_the_holders_is_refused_and_told_unless_the_break_is_meant(
    holders, said
):
    refused = only_row({"signature": {"allows_break": False}}, against(**holders))
    assert not refused.passed
    assert f"differs from version 3: {said}; if that is meant" in refused.reason
    assert "gates.signature.allows_break=true" in refused.reason
    allowed = only_row({"signature": {"allows_break": True}}, against(**holders))
    assert allowed.passed
    assert allowed.reason == f"differs from version 3: {said}; the break is allowed"


def test_the_same_signature_passes_and_nobody_has_none():
    assert only_row({"signature": {"allows_break": False}}, against()).reason == "as version 3"
    alone = Evidence(signatures=Signatures(SIGNATURE, holder=None, holder_version=""))
    row = only_row({"signature": {"allows_break": False}}, alone)
    assert row.passed
    assert row.reason == "nobody stands there"


def lineage_row(found: Lineage, *, requires_clean_tree: bool):
    values = {"lineage": {"requires_clean_tree": requires_clean_tree}}
    return only_row(values, Evidence(lineage=found))


@pytest.mark.parametrize("strict", [True, False])
def test_a_gap_in_the_lineage_is_refused_everywhere(strict):
    found = replace(CLEAN, gaps=("its data has no hash", "its packages have no lock"))
    row = lineage_row(found, requires_clean_tree=strict)
    assert not row.passed
    assert row.measured == 2
    assert row.reason == "cannot be rebuilt: its data has no hash; its packages have no lock"


def test_edits_are_refused_with_their_files_and_the_way_out_where_the_tree_must_be_clean():
    files = tuple(f"src/{letter}.py" for letter in "abcdefg")
    row = lineage_row(replace(CLEAN, is_clean=False, dirty_files=files), requires_clean_tree=True)
    assert not row.passed
    assert "src/a.py, src/b.py, src/c.py, src/d.py, src/e.py and 2 more" in row.reason
    assert row.reason.endswith(f"; commit them and run `{RETRAIN}`")


def test_edits_are_only_said_where_the_tree_need_not_be_clean():
    found = replace(CLEAN, is_clean=False, dirty_files=("params.yaml",))
    row = lineage_row(found, requires_clean_tree=False)
    assert row.passed
    said = "complete, but trained with edits that were not committed, in params.yaml"
    assert row.reason == said


def test_a_complete_lineage_of_a_clean_tree_passes_everywhere():
    assert lineage_row(CLEAN, requires_clean_tree=True).reason == "complete"
