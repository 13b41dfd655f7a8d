"""Gates on what a model is and where it came from, whatever it scores."""

from collections.abc import Iterator
from typing import Literal

from vertiform.evaluation.evidence import Evidence, Signature
from vertiform.evaluation.gate import gate, missing, most, said
from vertiform.evaluation.verdict import GateRow

_NUM_NAMED = 5


@gate
def contamination(evidence: Evidence, *, max_documents: int) -> Iterator[GateRow]:
    """No more than `max_documents` pretraining documents share a 13-gram with a test example."""
    name, number = "contamination", evidence.num_contaminated_documents
    if number is None:
        yield missing(name, evidence, "the manifest does not say", max_documents)
        return
    reason = f"{number:,} pretraining documents share text with the test or validation split"
    yield most(name, number, max_documents, reason)


@gate
def predicts_its_example(evidence: Evidence, *, max_difference: float) -> Iterator[GateRow]:
    """The model loads from where it is registered and predicts its stored example as it did."""
    name, difference = "predicts_its_example", evidence.example_difference
    if difference is None:
        yield missing(name, evidence, "it was not loaded and asked", max_difference)
        return
    holds = difference <= max_difference
    reason = "loads and predicts as stored" if holds else "predicts otherwise than stored"
    yield most(name, difference, max_difference, reason)


@gate
def size(evidence: Evidence, *, max_megabytes: float) -> Iterator[GateRow]:
    """The model's files are not larger than a deployment allows. A megabyte is 10**6 bytes."""
    measured = evidence.size_megabytes
    if measured is None:
        yield missing("size", evidence, "its files were not measured", max_megabytes)
        return
    over = "" if measured <= max_megabytes else f", over {max_megabytes:g} MB"
    yield most("size", measured, max_megabytes, f"{measured:.1f} MB{over}")


@gate
def latency(
    evidence: Evidence,
    *,
    max_p95_milliseconds: float,
    device: Literal["cpu", "cuda"],
    num_requests: int,
    num_warm_up: int,
) -> Iterator[GateRow]:
    """19 of 20 requests, one at a time, take no longer than this, by the high end of the interval.

    num_requests test texts are sent after num_warm_up that are not counted.
    """
    name, measured = f"latency p95_milliseconds {device}", evidence.latency
    if measured is None:
        yield missing(name, evidence, "it was not timed", max_p95_milliseconds)
        return
    if (measured.device, measured.num_requests) != (device, num_requests):
        what = f"it was timed with {measured.num_requests:,} requests on {measured.device}"
        yield missing(name, evidence, what, max_p95_milliseconds)
        return
    p95 = measured.p95_milliseconds
    yield GateRow(
        gate=name,
        threshold=max_p95_milliseconds,
        measured=p95.value,
        interval=(p95.low, p95.high),
        passed=p95.high <= max_p95_milliseconds,
        reason=f"milliseconds, of {num_requests:,} requests on {measured.device_name}",
    )


@gate
def signature(evidence: Evidence, *, allows_break: bool) -> Iterator[GateRow]:
    """Who calls the holder can call this version: same inputs and outputs, task and labels.

    `gates.signature.allows_break=true` lets a change through that is meant, and says what changed.
    """
    name, found = "signature", evidence.signatures
    if found is None:
        yield missing(name, evidence, "the signatures were not read", 0)
        return
    if found.holder is None:
        yield said(name, passed=True, reason="nobody stands there")
        return
    differences = _signature_differences(found.asking, found.holder)
    reason = f"as version {found.holder_version}"
    if differences:
        reason = f"differs from version {found.holder_version}: {'; '.join(differences)}"
        reason += (
            "; the break is allowed"
            if allows_break
            else "; if that is meant, promote with gates.signature.allows_break=true"
        )
    passed = allows_break or not differences
    yield GateRow(name, 0, len(differences), None, passed=passed, reason=reason)


@gate
def lineage(evidence: Evidence, *, requires_clean_tree: bool) -> Iterator[GateRow]:
    """All that a rebuild needs was kept, and the code was a commit's, without edits.

    Without requires_clean_tree, edits are said but not refused: their diff is kept with the run.
    """
    name, found = "lineage", evidence.lineage
    if found is None:
        yield missing(name, evidence, "it was not read", 0)
        return
    if found.gaps:
        reason = f"cannot be rebuilt: {'; '.join(found.gaps)}"
        yield GateRow(name, 0, len(found.gaps), None, passed=False, reason=reason)
        return
    yield GateRow(
        gate=name,
        threshold=0,
        measured=0,
        interval=None,
        passed=bool(found.is_clean) or not requires_clean_tree,
        reason="complete"
        if found.is_clean
        else f"complete, but {_edits(found.dirty_files)}"
        + (f"; commit them and run `{found.retrain}`" if requires_clean_tree else ""),
    )


def _edits(files: tuple[str, ...]) -> str:
    named = ", ".join(files[:_NUM_NAMED]) or "files that it does not name"
    more = f" and {len(files) - _NUM_NAMED} more" if len(files) > _NUM_NAMED else ""
    return f"trained with edits that were not committed, in {named}{more}"


def _signature_differences(asking: Signature, holder: Signature) -> list[str]:
    """Say in words what a caller of the holder would meet."""
    differences = [
        f"its {what} changed"
        for what, now, then in (
            ("inputs", asking.inputs, holder.inputs),
            ("outputs", asking.outputs, holder.outputs),
        )
        if now != then
    ]
    if asking.kind != holder.kind:
        differences.append(f"it is a task of kind {asking.kind}, not {holder.kind}")
    gone = sorted(set(holder.labels) - set(asking.labels))
    new = sorted(set(asking.labels) - set(holder.labels))
    if gone:
        differences.append(f"it no longer says {_listed(gone)}")
    if new:
        differences.append(f"it also says {_listed(new)}")
    return differences


def _listed(labels: list[str]) -> str:
    shown = ", ".join(f"`{label}`" for label in labels[:_NUM_NAMED])
    return shown + (f" and {len(labels) - _NUM_NAMED} more" if len(labels) > _NUM_NAMED else "")
