"""The model card, in markdown, written from facts alone (Mitchell et al. 2019, arXiv 1810.03993).

What no fact says, the card calls not recorded; nothing here is known about any one model.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vertiform.evaluation import names
from vertiform.evaluation.bootstrap import DifferenceInterval
from vertiform.evaluation.report import ClassScores, EvaluationReport
from vertiform.evaluation.report_tables import score_table, slice_table
from vertiform.evaluation.tables import markdown_table, number, with_interval

NOT_RECORDED = "Not recorded."

_NUM_WEAKEST = 3
_FEW_ROWS = 30  # below this an interval of a class is too wide to choose by
_BADLY_CALIBRATED = 0.05  # expected calibration error; a confidence off by more misleads
_MAX_LABELS_LISTED = 60


def model_card(facts: Mapping[str, Any]) -> str:
    """Write the card of one model.

    name:       what it is registered as.
    task:       task.json of what it was trained for.
    evaluation: EvaluationReport.to_json() on the test split.
    Each of these may be missing, and is a mapping of plain values, nested as one likes:
    data (the corpus: domain, documents, hash), sources (a list of mappings: name, licence, counts),
    training (start, configuration, steps), lineage (commit, hashes, hardware, run id).
    """
    report = EvaluationReport.from_json(facts["evaluation"])
    sections = {
        "Intended use": _intended_use(facts["task"]),
        "How to load it": _loading(facts["name"]),
        "Scores": _scores(report),
        "Scores by class": _scores_by_class(report),
        "Weakest slices": slice_table(report, as_markdown=True),
        "Limitations": "\n".join(f"- {line}" for line in _limitations(facts["task"], report)),
        "Labelled data": _fact_table(_labelled_data(facts["task"])),
        "Training text": _fact_table(facts.get("data", {})),
        "Sources and licences": _record_table(facts.get("sources", [])),
        "Training": _fact_table(facts.get("training", {})),
        "Lineage": _fact_table(facts.get("lineage", {})),
    }
    body = "\n\n".join(f"## {title}\n\n{text}" for title, text in sections.items())
    return f"# {facts['name']}\n\n{_in_one_line(report)}\n\n{body}\n"


def _in_one_line(report: EvaluationReport) -> str:
    main = report.main_score
    score = report.scores.get(main)
    if score is None:
        return f"The test split does not define {main}."
    measured = with_interval(score.value, score.low, score.high)
    confidence = f"{report.resampling.confidence:.0%}"
    line = f"{main} {measured}, {confidence} interval, on {report.num_rows:,} rows"
    if main in report.baseline:
        line += f"; its baseline {number(report.baseline[main].value)}"
    return line + "."


def _intended_use(task: Mapping[str, Any]) -> str:
    labels = [f"`{label}`" for label in task["labels"]]
    listed = ", ".join(labels[:_MAX_LABELS_LISTED])
    if len(labels) > _MAX_LABELS_LISTED:
        listed += f" and {len(labels) - _MAX_LABELS_LISTED} more"
    what = {
        "classification": f"Says which of {len(labels)} classes a text belongs to",
        "entities": f"Marks the spans of a text that are one of {len(labels)} types of entity",
    }[task["kind"]]
    language = task.get("language") or "not recorded"
    return f"{what}: {listed}.\n\nLanguage of the text: {language}."


def _loading(name: str) -> str:
    return "\n".join(
        [
            "```python",
            "import mlflow",
            "",
            f'model = mlflow.pyfunc.load_model("models:/{name}@staging")',
            'model.predict(["a text"])',
            "```",
        ]
    )


def _scores(report: EvaluationReport) -> str:
    drawn = report.resampling
    unit = "sentences" if report.kind == "entities" else "rows"
    note = (
        f"In brackets the {drawn.confidence:.0%} percentile interval of {drawn.resamples:,} "
        f"bootstrap resamples of {report.num_rows:,} {unit} (seed {drawn.seed}); differences are "
        "paired. The calibration error is over 15 equal bins of confidence; less is better."
    )
    return f"{score_table(report, as_markdown=True)}\n\n{note}"


def _scores_by_class(report: EvaluationReport) -> str:
    scores = [s for s in names.CLASS_SCORES if any(s in c.scores for c in report.by_class)]
    rows = [
        [
            found.label,
            f"{found.num_true:,}",
            f"{found.num_predicted:,}",
            *(_score_cell(found, score) for score in scores),
        ]
        for found in report.by_class
    ]
    return markdown_table(["class", "true", "predicted", *scores], rows)


def _score_cell(found: ClassScores, score: str) -> str:
    interval = found.scores.get(score)
    return "-" if interval is None else with_interval(interval.value, interval.low, interval.high)


def _limitations(task: Mapping[str, Any], report: EvaluationReport) -> Iterator[str]:
    """Say what the figures say against the model."""
    yield from _against_the_baseline(report.difference.get(report.main_score))
    weakest = sorted(
        (c for c in report.by_class if names.F1 in c.scores),
        key=lambda c: (c.scores[names.F1].value, c.label),
    )
    listed = "; ".join(f"`{c.label}` {_score_cell(c, names.F1)}" for c in weakest[:_NUM_WEAKEST])
    if listed:
        yield f"Weakest, by F1: {listed}."
    few = [c for c in report.by_class if c.num_true < _FEW_ROWS]
    if few:
        counts = ", ".join(f"`{c.label}` ({c.num_true})" for c in few)
        yield f"Fewer than {_FEW_ROWS} in the test split, so hardly measured: {counts}."
    yield from _of_calibration(report)
    if report.kind == "classification":
        yield "Every text gets one of the classes above, also a text that belongs to none of them."
    if task.get("language"):
        yield f"Measured on text in `{task['language']}` alone."


def _against_the_baseline(difference: DifferenceInterval | None) -> Iterator[str]:
    if difference is None:
        yield "Not measured against a baseline."
    elif difference.low <= 0:
        yield (
            "Not surely better than its baseline: the paired interval of the difference, "
            f"{difference.low:+.3f} to {difference.high:+.3f}, holds 0 or lies below it."
        )


def _of_calibration(report: EvaluationReport) -> Iterator[str]:
    for metric, score in report.scores.items():
        if names.is_lower_better(metric) and score.value > _BADLY_CALIBRATED:
            yield (
                f"Its confidence is off by {score.value:.2f} on average ({metric}): do not read it "
                "as the chance of being right."
            )


def _labelled_data(task: Mapping[str, Any]) -> dict[str, Any]:
    rows = {f"rows, {split}": number for split, number in task.get("rows", {}).items()}
    hashes = {f"sha256, {split}": value for split, value in task.get("sha256", {}).items()}
    split_rule = {"split by": task["split_rule"]} if task.get("split_rule") else {}
    return {"task": task["task"], **rows, **split_rule, **hashes}


def _fact_table(facts: Mapping[str, Any]) -> str:
    rows = [[key, _shown(value)] for key, value in _flat(facts)]
    return markdown_table(["fact", "value"], rows) if rows else NOT_RECORDED


def _record_table(records: Sequence[Mapping[str, Any]]) -> str:
    if not records:
        return NOT_RECORDED
    columns = list(dict.fromkeys(key for record in records for key in record))
    rows = [[_shown(record.get(column)) for column in columns] for record in records]
    return markdown_table([_in_words(column) for column in columns], rows)


def _flat(facts: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in facts.items():
        name = f"{prefix}{_in_words(key)}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}, ")
        else:
            yield name, value


def _in_words(key: str) -> str:
    return key.replace("_", " ")


def _shown(value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list | tuple):
        return ", ".join(_shown(item) for item in value) or "-"
    return str(value)
