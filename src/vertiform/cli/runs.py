"""vertiform runs: the runs of a store, the latest or the best by a metric, in milliseconds."""

import argparse
import csv
import io
import json
import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from vertiform.cli import session
from vertiform.errors import EXIT_DONE, ConfigError
from vertiform.progress import duration

if TYPE_CHECKING:
    from vertiform.tracking.index import FoundRun, Question
    from vertiform.tracking.index_conditions import Field
    from vertiform.tracking.index_query import Answers

ID_CHARACTERS = 8  # of 32; enough to name a run to `vertiform compare`
NAME_CHARACTERS = 44
MAX_METRICS = 3  # columns, where none are asked for
# What a table leads with, in this order, of the metrics that its runs have.
MAIN_METRICS = (
    "test/f1_macro",
    "test/entity_f1",
    "best/val/f1_macro",
    "best/val/entity_f1",
    "best/val/nats_per_token",
    "best/val/loss_nats",
    "val/nats_per_token",
    "train/loss_nats",
    "speed/tokens_per_second",
)


def add_arguments(parser: argparse.ArgumentParser, verb: str) -> None:
    """Add the options of `verb`."""
    session.add_tracking_option(parser)
    add_selection(parser)
    parser.add_argument(
        "--sort", metavar="NAME", help="a metric, best first, or any column (latest first)"
    )
    parser.add_argument("--reverse", action="store_true", help="worst or oldest first")
    parser.add_argument(
        "--columns", nargs="+", metavar="NAME", help="metrics, params or tags to show"
    )
    parser.add_argument("--limit", type=int, default=10, metavar="N", help="rows to show (10)")
    parser.add_argument("--all", action="store_true", help="show every row")
    parser.add_argument("--children", action="store_true", help="show runs below their parents")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="with every metric, param and tag")
    form.add_argument("--csv", action="store_true", help="the table, as numbers")


def add_selection(parser: argparse.ArgumentParser) -> None:
    """Add what chooses runs; `compare` takes it too."""
    parser.add_argument(
        "--where",
        nargs="+",
        action="extend",
        default=[],
        metavar="CONDITION",
        help="such as domain=software 'test/f1_macro>0.5' name~area; all must hold",
    )
    parser.add_argument(
        "--rebuild", action="store_true", help="read every run from MLflow again first"
    )


def run(options: argparse.Namespace) -> int:
    """Print the runs in question."""
    from vertiform.tracking.index import ask, find

    store = session.asked_store(options)
    question = _question(options)
    found = find(store, question, rebuild=options.rebuild)

    # One more look at the index, which `find` has just brought up to date.
    def shown(answers: "Answers") -> str:
        rows = list(_with_children(found, answers)) if options.children else _indented(found)
        if options.json:
            return _as_json([one for _, one in rows], answers)
        fields = _fields(options, [one for _, one in rows], answers)
        valued = answers.values([one for _, one in rows], fields)
        rows = [(depth, one) for (depth, _), one in zip(rows, valued, strict=True)]
        if options.csv:
            return _as_csv(rows, fields)
        return _as_table(rows, fields, footer=_footer(question, len(found), answers))

    print(ask(store, shown, refreshed=False))
    return EXIT_DONE


def _question(options: argparse.Namespace) -> "Question":
    from vertiform.tracking.index import Question

    if options.limit < 1:
        raise ConfigError(
            f"--limit {options.limit} would show nothing.", fix="give 1 or more, or --all."
        )
    return Question(
        **({"sort": options.sort} if options.sort else {}),
        is_reversed=options.reverse,
        where=tuple(options.where),
        limit=None if options.all else options.limit,
        # A chosen or sorted child stands for itself; the plain list shows families.
        only_top=not (options.sort or options.where),
    )


def _with_children(
    found: Sequence["FoundRun"], answers: "Answers", depth: int = 0
) -> Iterator[tuple[int, "FoundRun"]]:
    children = answers.children([one.id for one in found if one.num_children])
    for one in found:
        yield depth, one
        yield from _with_children(children.get(one.id, []), answers, depth + 1)


def _indented(found: Sequence["FoundRun"]) -> list[tuple[int, "FoundRun"]]:
    return [(0, one) for one in found]


def _fields(
    options: argparse.Namespace, found: Sequence["FoundRun"], answers: "Answers"
) -> list["Field"]:
    """The columns beside those that every run has: asked for, or the main metrics there are."""
    if options.columns:
        names = list(options.columns)
    else:
        counts = answers.metrics_of(found)
        names = [name for name in MAIN_METRICS if name in counts]
        if not names:
            names = sorted(counts, key=lambda name: (-counts[name], name))
        names = names[:MAX_METRICS]
    if options.sort:
        names = [options.sort, *(name for name in names if name != options.sort)]
    fields = [answers.field(name) for name in names]
    return [one for one in fields if one.kind != "attribute"]


def _as_table(
    rows: Sequence[tuple[int, "FoundRun"]], fields: Sequence["Field"], *, footer: str
) -> str:
    from vertiform.evaluation.tables import text_table

    if not rows:
        return footer
    header = ["id", "name", "kind", "state", "started", "duration", *(f.name for f in fields)]
    cells = [
        [
            one.id[:ID_CHARACTERS],
            _name(one, depth),
            one.kind or "-",
            one.state,
            f"{datetime.fromtimestamp(one.started_ms / 1000):%Y-%m-%d %H:%M}",
            duration(one.seconds),
            *(cell(one.values.get(field.name)) for field in fields),
        ]
        for depth, one in rows
    ]
    lost = [one for _, one in rows if one.state.endswith("?")]
    hint = f"\nlost?: {len(lost)} without a sign of life; `vertiform sync` finishes them."
    return f"{text_table(header, cells)}\n\n{footer}{hint if lost else ''}"


def _name(one: "FoundRun", depth: int) -> str:
    name = f"{'  ' * depth}{one.name}"
    if len(name) > NAME_CHARACTERS:
        name = f"{name[: NAME_CHARACTERS - 3]}..."
    return f"{name} (+{one.num_children})" if one.num_children else name


def _footer(question: "Question", shown: int, answers: "Answers") -> str:
    total = answers.count(question.where)
    if not total:
        return "No run fulfils that." if question.where else "There are no runs yet."
    noun = "run" if total == 1 else "runs"
    if not question.only_top:
        return f"{shown:,} of {total:,} {noun}."
    return f"{shown:,} shown of {total:,} {noun}; (+n) has n below it: --children shows them."


def _as_json(found: Sequence["FoundRun"], answers: "Answers") -> str:
    listed = [
        {
            "id": one.id,
            "name": one.name,
            "kind": one.kind,
            "experiment": one.experiment,
            "state": one.state,
            "started": _iso(one.started_ms),
            "seconds": round(one.seconds, 3),
            "parent_id": one.parent_id or None,
            **_finite(answers.everything(one)),
        }
        for one in found
    ]
    return json.dumps(listed, indent=2, ensure_ascii=False, allow_nan=False)


def _finite(known: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """JSON knows neither NaN nor infinity: they are written as texts."""
    metrics = {
        name: value if math.isfinite(value) else str(value)
        for name, value in known["metrics"].items()
    }
    return known | {"metrics": metrics}


def _as_csv(rows: Sequence[tuple[int, "FoundRun"]], fields: Sequence["Field"]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    own = ["id", "name", "kind", "experiment", "state", "started", "seconds", "parent_id"]
    writer.writerow([*own, *(field.name for field in fields)])
    for _, one in rows:
        mine = [one.id, one.name, one.kind, one.experiment, one.state, _iso(one.started_ms)]
        values = [one.values.get(field.name, "") for field in fields]
        writer.writerow([*mine, round(one.seconds, 3), one.parent_id, *values])
    return text.getvalue().rstrip("\n")


def _iso(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, tz=UTC).isoformat(timespec="milliseconds")


def cell(value: float | str | None) -> str:
    """Write what a run has of one column: three digits after the point, or enough of a text."""
    if value is None:
        return "-"
    if isinstance(value, str):
        return value if len(value) <= NAME_CHARACTERS else f"{value[: NAME_CHARACTERS - 3]}..."
    if value and math.isfinite(value) and (abs(value) < 0.001 or abs(value) >= 100_000):
        return f"{value:.3g}"
    return f"{value:,.3f}"
