"""vertiform verify: make a version again from its record, and say whether it is the same."""

import argparse
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from vertiform.cli import session
from vertiform.errors import EXIT_DONE, EXIT_REFUSED, ConfigError

if TYPE_CHECKING:
    from vertiform.tracking.rebuild_verdict import RebuildVerdict

TOLERANCE = 0.01  # of a score from 0 to 1

ANSWERS = {
    "identical": "Bit for bit the same.",
    "within tolerance": "Other weights, but every score is the same within {tolerance}.",
    "differs": "It does not come out the same.",
}


def add_arguments(parser: argparse.ArgumentParser, verb: str) -> None:
    """Add the options of `verb`."""
    parser.add_argument("model", help="MODEL@ALIAS or MODEL/NUMBER, such as software-area@staging")
    session.add_tracking_option(parser)
    parser.add_argument(
        "--tolerance",
        type=float,
        default=TOLERANCE,
        help=f"difference of a score that still counts as the same ({TOLERANCE})",
    )
    parser.add_argument(
        "--from-raw", action="store_true", help="make the data again too, not from DVC's cache"
    )
    parser.add_argument(
        "--fresh-environment",
        action="store_true",
        help="build .venv from the recorded requirements.lock and train there (minutes)",
    )
    parser.add_argument("--scratch", type=Path, help="folder to rebuild in (the system's own)")
    parser.add_argument("--keep", action="store_true", help="leave the scratch folder")


def run(options: argparse.Namespace) -> int:
    """Rebuild, compare, keep the verdict on the version, and say it."""
    if options.tolerance < 0:
        raise ConfigError("--tolerance is below 0.", fix="give 0, or a small number such as 0.01.")
    from vertiform.tracking.rebuild import rebuild
    from vertiform.tracking.rebuild_verdict import compare, keep_verdict
    from vertiform.tracking.recorded import read_recorded
    from vertiform.tracking.registry import resolve

    store = session.asked_store(options)
    version = resolve(store, options.model)
    recorded = read_recorded(store, version, needs_pretrained=not options.from_raw)
    with _scratch(options) as folder:
        rebuilt = rebuild(
            recorded,
            project=Path.cwd(),
            into=folder,
            from_raw=options.from_raw,
            fresh_environment=options.fresh_environment,
        )
    verdict = compare(recorded, rebuilt, tolerance=options.tolerance)
    keep_verdict(store, recorded, verdict)
    print(_shown(verdict))
    return EXIT_REFUSED if verdict.outcome == "differs" else EXIT_DONE


@contextmanager
def _scratch(options: argparse.Namespace) -> Iterator[Path]:
    """Give an empty folder; with --keep it stays, whatever happens in it."""
    if options.scratch is not None:
        options.scratch.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="vertiform-rebuild-", dir=options.scratch))
    try:
        yield folder
    finally:
        if options.keep:
            print(f"The scratch folder is {folder}.")
        else:
            shutil.rmtree(folder)


def _shown(verdict: "RebuildVerdict") -> str:
    from vertiform.evaluation.tables import text_table
    from vertiform.tracking.rebuild_verdict import HEADER, table_rows

    table = text_table(HEADER, table_rows(verdict))
    answer = ANSWERS[verdict.outcome].format(tolerance=verdict.tolerance)
    return f"\n{verdict.version}, rebuilt in {verdict.seconds:.0f} s\n\n{table}\n\n{answer}"
