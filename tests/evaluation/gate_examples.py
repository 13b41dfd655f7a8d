"""Evidence of a model that asks for an alias, as little as each gate needs."""

from tests.evaluation.examples import RESAMPLING, SLICING
from vertiform.evaluation.bootstrap import DifferenceInterval, Interval
from vertiform.evaluation.evidence import Evidence, Holder, Latency, Signature
from vertiform.evaluation.gates import decide, read_gates
from vertiform.evaluation.report import EvaluationReport
from vertiform.evaluation.verdict import GateRow, Verdict

RETRAIN = "dvc repro -f finetune@area"
SIGNATURE = Signature(
    inputs="a list of texts", outputs="maps", kind="classification", labels=("a", "b")
)


def report_with(**scores: Interval) -> EvaluationReport:
    """A report of a classification with these scores on test."""
    return EvaluationReport(
        task="area",
        kind="classification",
        split="test",
        labels=("a", "b"),
        num_rows=10,
        data_sha256="aa" * 32,
        resampling=RESAMPLING,
        scores={f"test/{name}": score for name, score in scores.items()},
        baseline={},
        difference={},
        by_class=(),
        mistakes=(),
        slicing=SLICING,
        slices=(),
    )


def decided(values: dict, evidence: Evidence) -> Verdict:
    return decide(read_gates(values, alias="staging"), evidence)


def only_row(values: dict, evidence: Evidence) -> GateRow:
    [row] = decided(values, evidence).rows
    return row


def difference(low: float, high: float) -> DifferenceInterval:
    return DifferenceInterval((low + high) / 2, low, high, 0.95)


def holder(low: float, high: float, *, data_sha256: str = "aa" * 32) -> Holder:
    return Holder(
        version="3", data_sha256=data_sha256, differences={"test/f1_macro": difference(low, high)}
    )


def latency(*, high: float, device: str = "cpu", num_requests: int = 200) -> Latency:
    return Latency(Interval(30, 20, high), num_requests, device, f"a {device} of 2 threads")
