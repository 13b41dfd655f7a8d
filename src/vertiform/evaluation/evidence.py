"""What was measured of a model that asks for an alias: all that its gates may look at."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from vertiform.evaluation.bootstrap import DifferenceInterval
from vertiform.evaluation.report import EvaluationReport

NOBODY: Literal["nobody"] = "nobody"


@dataclass(frozen=True)
class Holder:
    """The model version that stands at the alias now, against the one that asks to."""

    version: str
    data_sha256: str  # of the test rows that the differences were taken on for the holder
    differences: Mapping[str, DifferenceInterval]  # the one that asks - holder, paired


@dataclass(frozen=True)
class Evidence:
    """What was measured of the model that asks. None: not measured, so its gates refuse."""

    report: EvaluationReport | None = None
    holder: Holder | Literal["nobody"] | None = None
    num_contaminated_documents: int | None = None  # that share a 13-gram with test or validation
    example_difference: float | None = None  # largest, of its stored input example predicted again
    size_megabytes: float | None = None  # of the model's files, 10**6 bytes
