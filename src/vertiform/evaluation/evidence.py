"""What was measured of a model that asks for an alias: all that its gates may look at."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from vertiform.evaluation.bootstrap import DifferenceInterval, Interval
from vertiform.evaluation.report import EvaluationReport

NOBODY: Literal["nobody"] = "nobody"


@dataclass(frozen=True)
class Holder:
    """The model version that stands at the alias now, against the one that asks to."""

    version: str
    data_sha256: str  # of the test rows that the differences were taken on for the holder
    differences: Mapping[str, DifferenceInterval]  # the one that asks - holder, paired


@dataclass(frozen=True)
class Latency:
    """How long the model took for one request at a time."""

    p95_milliseconds: Interval
    num_requests: int
    device: str  # kind: "cpu" or "cuda"
    device_name: str  # what it was, for people: "AMD EPYC 9R14, 2 threads"


@dataclass(frozen=True)
class Drop:
    """How far the main score fell when the test texts were perturbed."""

    num_rows: int
    num_changed: int  # rows that the perturbation changed; with 0 there is no difference
    difference: DifferenceInterval | None  # perturbed - clean, paired


@dataclass(frozen=True)
class Robustness:
    """The main score under each perturbation of robustness.PERTURBATIONS, by its name."""

    score: str  # full name of the main score
    drops: Mapping[str, Drop]


@dataclass(frozen=True)
class Signature:
    """What a caller must know of a version: what it takes, what it gives, and the words for it."""

    inputs: Any  # MLflow's schema, plain values
    outputs: Any
    kind: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Signatures:
    """The signature of the version that asks, and of the one that stands there (None: nobody)."""

    asking: Signature
    holder: Signature | None
    holder_version: str


@dataclass(frozen=True)
class Lineage:
    """Whether the version can be made again from what was kept."""

    gaps: tuple[str, ...]  # what was not kept, in words; empty if it is complete
    is_clean: bool | None  # the tree, at training time; None if there was no commit to compare with
    dirty_files: tuple[str, ...]  # those that differed from the commit, where they were listed
    retrain: str  # the command that trains it again


@dataclass(frozen=True)
class Evidence:
    """What was measured of the model that asks. None: not measured, so its gates refuse."""

    report: EvaluationReport | None = None
    holder: Holder | Literal["nobody"] | None = None
    num_contaminated_documents: int | None = None  # that share a 13-gram with test or validation
    example_difference: float | None = None  # largest, of its stored input example predicted again
    size_megabytes: float | None = None  # of the model's files, 10**6 bytes
    latency: Latency | None = None
    robustness: Robustness | None = None
    signatures: Signatures | None = None
    lineage: Lineage | None = None
    unmeasured: Mapping[str, str] = field(default_factory=dict)  # gate: why it could not be
