"""The note of a run, in markdown: what it was, on which data, what came out, and how to go on.

MLflow shows it first on the run's page. Written from plain values alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from vertiform.evaluation import names
from vertiform.evaluation.tables import markdown_table, number

HASH_CHARACTERS = 12


def pretrain_note(
    name: str,
    config: Mapping[str, Any],
    *,
    model: str,
    facts: Mapping[str, str],
    metrics: Mapping[str, float],
    data: Mapping[str, str],
) -> str:
    """Tell of a pretraining run named `name`.

    model: the folder of its weights. facts: what is worth a row, as text. metrics: of the step
    whose weights are kept. data: the hash of each file and folder that was read.
    """
    domain, monitor = config["domain"], config["monitor"]
    return _page(
        name,
        f"A language model pretrained on the text of `{domain}`; kept are the weights of the step "
        f"whose `{monitor}` on validation was best.",
        _facts({**facts, "seed": str(config["seed"])}),
        _scores(metrics),
        _data(data),
        commands=[
            f"vertiform runs --where domain={domain} kind=pretrain --sort {names.best(monitor)}",
            f"vertiform pretrain domain={domain} weights={model}",
            f"vertiform finetune domain={domain} task.name=<task>",
        ],
    )


def start_note(
    name: str,
    config: Mapping[str, Any],
    *,
    start: str,
    metrics: Mapping[str, float],
    seconds: float,
    data: Mapping[str, str],
) -> str:
    """Tell of one start of a fine-tuning, or of its baseline."""
    domain, task, monitor = config["domain"], config["task"]["name"], config["monitor"]
    return _page(
        name,
        f"`{start}` on the task `{task}` of `{domain}`, beside the other starts under one parent "
        f"run, which says which is best by `{monitor}`.",
        _facts({"seconds": f"{seconds:.1f}", "seed": str(config["seed"])}),
        _scores(metrics),
        _data(data),
        commands=[
            f"vertiform runs --children --where domain={domain} --sort {names.best(monitor)}",
            f"vertiform finetune domain={domain} task.name={task}",
        ],
    )


def finetune_note(
    name: str,
    config: Mapping[str, Any],
    *,
    best: str,
    starts: Sequence[Mapping[str, Any]],
    data: Mapping[str, str],
) -> str:
    """Tell of a fine-tuning, all of its starts side by side.

    best:   the start whose network is kept.
    starts: a row each: start, run_id, seconds, and its metrics on validation.
    """
    domain, task, monitor = config["domain"], config["task"]["name"], config["monitor"]
    compared = " ".join(row["run_id"][:HASH_CHARACTERS] for row in starts)
    return _page(
        name,
        f"The task `{task}` of `{domain}`, fine-tuned from each start. Kept is the network of "
        f"**{best}**: its `{monitor}` is the best. Figures are of the validation split.",
        _starts(starts, best=best, monitor=monitor),
        _data(data),
        commands=[
            f"vertiform compare {compared}",
            f"dvc repro evaluate@{task}",
            f"dvc repro register@{task} promote@{task}",
        ],
    )


def _starts(starts: Sequence[Mapping[str, Any]], *, best: str, monitor: str) -> str:
    keys = dict.fromkeys(key for row in starts for key in row)
    metrics = [key for key in keys if key not in ("start", "run_id", "seconds")]
    shown = [monitor, *(key for key in metrics if key != monitor)]
    rows = []
    for row in starts:
        start = f"**{row['start']}** (best)" if row["start"] == best else str(row["start"])
        values = [number(row[key]) if key in row else "-" for key in shown]
        rows.append([start, *values, str(row["seconds"]), row["run_id"][:HASH_CHARACTERS]])
    return markdown_table(("start", *shown, "seconds", "run"), rows)


def _facts(facts: Mapping[str, str]) -> str:
    return markdown_table(("what", "value"), [[key, value] for key, value in facts.items()])


def _scores(metrics: Mapping[str, float]) -> str:
    return markdown_table(("metric", "best"), [[key, number(v)] for key, v in metrics.items()])


def _data(data: Mapping[str, str]) -> str:
    rows = [[path, digest[:HASH_CHARACTERS]] for path, digest in data.items()]
    return markdown_table(("data", "hash"), rows)


def _page(name: str, what: str, *sections: str, commands: Sequence[str]) -> str:
    going_on = "\n".join(("```bash", *commands, "```"))
    return "\n\n".join((f"# {name}", what, *sections, f"How to go on:\n\n{going_on}")) + "\n"
