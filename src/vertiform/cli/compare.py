"""vertiform compare: what differs between runs, and their curves laid over each other."""

import argparse
import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from vertiform.cli import session
from vertiform.cli.identity import OUTSIDE_RELEASE
from vertiform.cli.runs import add_selection, cell
from vertiform.errors import EXIT_DONE, ConfigError, TrackingError

if TYPE_CHECKING:
    from vertiform.evaluation.comparison import ComparedRun, FactRow
    from vertiform.tracking.index import FoundRun
    from vertiform.tracking.index_query import Answers
    from vertiform.tracking.store import Store

MAX_COLUMNS = 5  # runs that a terminal shows side by side; of more, the table counts values
MAX_RUNS = 500  # on one page
MAX_HISTORIES = 4000  # curves read without being asked for by name; some 20 ms each
HASH_CHARACTERS = 12  # of data and code, in the terminal; the page has them whole


def add_arguments(parser: argparse.ArgumentParser, verb: str) -> None:
    """Add the options of `verb`."""
    session.add_tracking_option(parser)
    parser.add_argument(
        "runs",
        nargs="*",
        metavar="RUN",
        help="an id or its beginning, a name, or models:/NAME@alias",
    )
    add_selection(parser)
    parser.add_argument(
        "--best", nargs=2, metavar=("N", "METRIC"), help="the N best by a metric, of all or --where"
    )
    parser.add_argument(
        "--curves", nargs="+", metavar="METRIC", help="draw these (all that two runs share)"
    )
    parser.add_argument("--out", type=Path, help="file of the page (runs/compare/<hash>.html)")


def run(options: argparse.Namespace) -> int:
    """Print what differs, and write the page."""
    from vertiform.cli.compare_page import compare_page
    from vertiform.files import written_whole
    from vertiform.tracking.compared import read_compared, with_curves

    store = session.asked_store(options)
    chosen = _chosen(store, options)
    runs = read_compared(store, [one.id for one in chosen])
    print(_in_words(runs))
    runs = with_curves(store, runs, _curves(runs, options.curves))
    out = options.out or OUTSIDE_RELEASE / "compare" / f"{_hash_of(runs)}.html"
    page = compare_page(runs, title=_title(runs))
    with written_whole(out) as file:
        file.write(page)
    print(f"\nThe curves: {out} ({len(page) / 1e6:.1f} MB; open it in a browser)")
    return EXIT_DONE


def _chosen(store: "Store", options: argparse.Namespace) -> list["FoundRun"]:
    """The runs named, then those that --best or --where chooses, each once."""
    from vertiform.tracking.index import ask

    def choose(answers: "Answers") -> list["FoundRun"]:
        named = [_named(store, answers, reference) for reference in options.runs]
        return list({one.id: one for one in [*named, *_selected(answers, options)]}.values())

    found = ask(store, choose, rebuild=options.rebuild)
    if len(found) < 2:
        raise ConfigError(
            f"{len(found)} run{'' if len(found) == 1 else 's'} cannot be compared.",
            fix="name two or more, or choose them: --where domain=software, --best 10 METRIC; "
            "`vertiform runs` lists them.",
        )
    if len(found) > MAX_RUNS:
        raise ConfigError(
            f"{len(found):,} runs are more than one page can show ({MAX_RUNS}).",
            fix="choose fewer: --best 100 METRIC, or one more condition in --where.",
        )
    return found


def _selected(answers: "Answers", options: argparse.Namespace) -> list["FoundRun"]:
    from vertiform.tracking.index import Question

    where = tuple(options.where)
    if options.best:
        number, metric = options.best
        if not number.isdigit() or int(number) < 1:
            raise ConfigError(
                f"--best {number} is no number of runs.", fix="write --best 10 METRIC."
            )
        return answers.find(Question(sort=metric, where=where, limit=int(number)))
    if where:
        return answers.find(Question(where=where, limit=MAX_RUNS + 1))
    return []


def _named(store: "Store", answers: "Answers", reference: str) -> "FoundRun":
    if reference.startswith("models:/"):
        from vertiform.tracking.registry import resolve

        reference = resolve(store, reference).run_id
    found = answers.named(reference)
    if len(found) == 1:
        return found[0]
    if found:
        listed = ", ".join(
            f"{one.id[:8]} ({datetime.fromtimestamp(one.started_ms / 1000):%Y-%m-%d %H:%M})"
            for one in found[:10]
        )
        raise ConfigError(
            f"{len(found)} runs are called `{reference}`.", fix=f"give one of their ids: {listed}."
        )
    raise TrackingError(
        f"No run is called `{reference}`, and no run's id begins so.",
        fix=_near(answers, reference),
    )


def _near(answers: "Answers", reference: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(reference, answers.names(), n=1)
    return f"did you mean `{near[0]}`?" if near else "`vertiform runs --all` lists them."


def _curves(runs: Sequence["ComparedRun"], asked: Sequence[str] | None) -> list[str]:
    """The metrics to draw: those asked for, else all that are shared, up to MAX_HISTORIES."""
    from vertiform.tracking.compared import curve_names

    known = curve_names(runs)
    if asked:
        from vertiform.errors import did_you_mean

        for name in asked:
            if name not in known:
                raise ConfigError(
                    f"These runs share no curve `{name}`.", fix=did_you_mean(name, known)
                )
        return list(asked)
    number = max(1, MAX_HISTORIES // len(runs))
    if known[number:]:
        left_out = ", ".join(known[number:])
        print(f"\nNot drawn, for so many runs: {left_out}. Ask for some: --curves METRIC ...")
    return known[:number]


def _in_words(runs: Sequence["ComparedRun"]) -> str:
    from vertiform.evaluation.comparison import (
        differing_facts,
        metric_rows,
        num_alike,
        said_of_intervals,
    )

    rows = [*metric_rows(runs), *differing_facts(runs)]
    table = _side_by_side(runs, rows) if len(runs) <= MAX_COLUMNS else _counted(runs, rows)
    said = "".join(f"\n{line}" for line in said_of_intervals(runs))
    alike = f"{num_alike(runs):,} facts are the same in every run."
    return f"{table}\n\n{alike}{said}" if rows else f"The runs do not differ. {alike}"


def _side_by_side(runs: Sequence["ComparedRun"], rows: Iterable["FactRow"]) -> str:
    from vertiform.evaluation.comparison import labels
    from vertiform.evaluation.tables import text_table

    header = ["", "what differs", *(cell(label) for label in labels(runs))]
    cells, group = [], ""
    for row in rows:
        shown = [_short(value, row.group) for value in row.values]
        cells.append([row.group if row.group != group else "", row.name, *shown])
        group = row.group
    return text_table(header, cells)


def _counted(runs: Sequence["ComparedRun"], rows: Iterable["FactRow"]) -> str:
    """Of many runs: the best, the median and the worst of a metric, or how often each value is."""
    from vertiform.evaluation.tables import text_table

    cells, group = [], ""
    for row in rows:
        shown = _spread(runs, row.name) if row.group == "metrics" else _frequent(row)
        cells.append([row.group if row.group != group else "", row.name, shown])
        group = row.group
    return text_table(["", f"what differs in {len(runs)} runs", "values"], cells)


def _spread(runs: Sequence["ComparedRun"], name: str) -> str:
    from vertiform.evaluation.comparison import has_best, number_shown
    from vertiform.evaluation.names import is_lower_better

    found = [(v, run.name) for run in runs if (v := run.metrics.get(name)) is not None]
    finite = [one for one in found if math.isfinite(one[0])]
    if not finite:
        return f"no finite number in {len(found)} runs"
    finite.sort(reverse=not is_lower_better(name))
    words = ("best", "worst") if has_best(name) else ("highest", "lowest")
    (first, first_name), (median, _), (last, _) = finite[0], finite[len(finite) // 2], finite[-1]
    missing = f", in {len(finite)} runs" if len(finite) < len(runs) else ""
    return (
        f"{words[0]} {number_shown(first)} ({cell(first_name)}), median {number_shown(median)}, "
        f"{words[1]} {number_shown(last)}{missing}"
    )


def _frequent(row: "FactRow") -> str:
    counts = Counter(_short(value, row.group) for value in row.values)
    listed = ", ".join(f"{value} x {number}" for value, number in counts.most_common(4))
    return listed + (f", {len(counts) - 4} more values" if len(counts) > 4 else "")


def _short(value: str | None, group: str) -> str:
    if value is None:
        return "-"
    is_hash = group in ("data", "code") and len(value) > 20 and " " not in value
    return f"{value[:HASH_CHARACTERS]}..." if is_hash else cell(" ".join(value.split()))


def _title(runs: Sequence["ComparedRun"]) -> str:
    if len(runs) > 3:
        return f"{len(runs)} runs compared"
    return " and ".join(dict.fromkeys(run.name for run in runs))


def _hash_of(runs: Sequence["ComparedRun"]) -> str:
    """The same runs give the same file, whatever their order."""
    return hashlib.sha256(" ".join(sorted(run.id for run in runs)).encode()).hexdigest()[:12]
