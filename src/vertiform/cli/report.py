"""vertiform report: what the last release trained, how it scored, and where it stands."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vertiform.cli import layout
from vertiform.errors import EXIT_DONE, CorpusError
from vertiform.files import read_json
from vertiform.params import read_params


def add_arguments(parser: argparse.ArgumentParser, verb: str) -> None:
    """Add the options of `verb`."""
    parser.add_argument("--markdown", action="store_true", help="write the tables in markdown")


def run(options: argparse.Namespace) -> int:
    """Print the release from the receipts that its stages left; MLflow is not asked."""
    from vertiform.evaluation.tables import markdown_table, text_table

    release = read_params(Path("params.yaml"))["release"]
    domain, tasks = release["domain"], list(release["tasks"])
    table = markdown_table if options.markdown else text_table
    rows = [row for task in tasks for row in _rows(domain, task)]
    header = ["task", "start", "validation", "test (95% interval)", "seconds", "stands at"]
    print(f"\nDomain `{domain}`\n\n{table(header, rows)}\n")
    for task in tasks:
        print(_gain_line(domain, task))
    print(f"\nNext:\n{_next_commands(domain, tasks[0])}")
    return EXIT_DONE


def _rows(domain: str, task: str) -> Iterator[list[str]]:
    """A row for each start; the one that went to test and the baseline have test scores."""
    from vertiform.evaluation.report import EvaluationReport
    from vertiform.evaluation.tables import with_interval

    finetuned = _receipt("finetune", "receipt", domain, task)["facts"]
    evaluated = EvaluationReport.from_json(_receipt("evaluate", "out", domain, task))
    tested = {finetuned["best_start"]: evaluated.scores, "baseline": evaluated.baseline}
    monitor = finetuned["monitor"]
    for name, start in finetuned["starts"].items():
        score = tested.get(name, {}).get(evaluated.main_score)
        yield [
            f"{task} ({evaluated.main_score.rpartition('/')[2]})",
            name,
            f"{start[monitor]:.3f}",
            with_interval(score.value, score.low, score.high) if score else "-",
            f"{start['seconds']:.0f}",
            _standing(domain, task) if name == finetuned["best_start"] else "-",
        ]


def _gain_line(domain: str, task: str) -> str:
    from vertiform.evaluation.report import EvaluationReport
    from vertiform.evaluation.tables import signed_with_interval

    evaluated = EvaluationReport.from_json(_receipt("evaluate", "out", domain, task))
    gain = evaluated.difference[evaluated.main_score]
    return (
        f"{task}: {signed_with_interval(gain.value, gain.low, gain.high)} over its baseline on "
        f"{evaluated.num_rows:,} test rows."
    )


def _standing(domain: str, task: str) -> str:
    """Where the release left the model. A refusal leaves no receipt; `history` says why."""
    path = layout.option("promote", "receipt", domain=domain, task=task)
    if not path.exists():
        return "not promoted"
    promoted = read_json(path)
    return f"{promoted['alias']}, version {promoted['version']}"


def _next_commands(domain: str, task: str) -> str:
    return "\n".join(
        [
            "  make ui                                  compare every run in MLflow",
            f'  vertiform predict {domain}-{task} "..."   ask the model at `staging`',
            "  docs/own-domain.md                       bring your own text",
        ]
    )


def _receipt(stage: str, option: str, domain: str, task: str) -> dict[str, Any]:
    path = layout.option(stage, option, domain=domain, task=task)
    path = path / layout.EVALUATION if stage == "evaluate" else path
    if not path.exists():
        raise CorpusError(
            f"{path} does not exist, so {stage} has not run for `{task}`.", fix="run `dvc repro`."
        )
    return read_json(path)
