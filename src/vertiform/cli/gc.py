"""vertiform gc: what nothing needs any more, shown, and removed when asked."""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from vertiform.cli import session
from vertiform.errors import EXIT_DONE, ConfigError

if TYPE_CHECKING:
    from vertiform.tracking.leftovers import Cache, Piece
    from vertiform.tracking.retention import Policy, Retained
    from vertiform.tracking.store import Store

KEEP_DAYS = 30.0
GOES, STAYS = "goes", "kept"


def add_arguments(parser: argparse.ArgumentParser, verb: str) -> None:
    """Add the options of `verb`."""
    session.add_tracking_option(parser)
    parser.add_argument("--yes", action="store_true", help="remove; without it, only show")
    parser.add_argument(
        "--keep-days",
        type=float,
        default=KEEP_DAYS,
        help=f"keep what is younger, needed or not ({KEEP_DAYS:.0f})",
    )
    parser.add_argument(
        "--versions",
        action="store_true",
        help="let old versions go too that no alias, decision or receipt names",
    )
    parser.add_argument(
        "--permanently",
        action="store_true",
        help="erase the deleted runs and their files, which nothing brings back",
    )


def run(options: argparse.Namespace) -> int:
    """Decide, show, and with --yes remove."""
    from vertiform.tracking.leftovers import local_pieces, look_at_cache

    if options.keep_days < 0:
        raise ConfigError("--keep-days is below 0.", fix="give 0 or more days, such as 30.")
    if options.permanently and not options.yes:
        raise ConfigError(
            "--permanently erases what nothing brings back, and asks for --yes.",
            fix="look at what goes first, then run `vertiform gc --yes --permanently`.",
        )
    store = session.asked_store(options)
    policy = _policy(options)
    retained = _retained(store, policy)
    pieces = local_pieces(Path.cwd(), retained, policy)
    cache = look_at_cache(Path.cwd(), retained)
    print(_shown(store, retained, pieces, cache))
    if not options.yes:
        print("\nNothing was removed; `vertiform gc --yes` removes what goes.")
        return EXIT_DONE
    _remove(store, retained, pieces, cache, is_permanent=options.permanently)
    return EXIT_DONE


def _policy(options: argparse.Namespace) -> "Policy":
    from vertiform.tracking.retention import Policy

    return Policy(keep_days=options.keep_days, removes_versions=options.versions, now=time.time())


def _retained(store: "Store", policy: "Policy") -> "Retained":
    from vertiform.tracking.inventory import read_inventory
    from vertiform.tracking.leftovers import committed_receipts
    from vertiform.tracking.recorded import digest_of_checkpoint
    from vertiform.tracking.retention import retain

    return retain(
        read_inventory(store),
        policy,
        committed_receipts(Path.cwd()),
        digest_of=lambda run: digest_of_checkpoint(store, store.client.get_run(run.id)),
    )


def _remove(
    store: "Store",
    retained: "Retained",
    pieces: "list[Piece]",
    cache: "Cache",
    *,
    is_permanent: bool,
) -> None:
    from vertiform.tracking import removal
    from vertiform.tracking.leftovers import remove_unused_cache

    num_versions = removal.remove_versions(store, retained.versions_to_go)
    num_runs = removal.remove_runs(store, retained.runs_to_go)
    print(f"\n{num_versions:,} versions and {num_runs:,} runs deleted in {store.name}.")
    if is_permanent:
        num_erased = removal.erase_runs(store, retained.runs_to_go, retained.inventory)
        print(f"{num_erased:,} deleted runs erased, with their files.")
    elif num_runs:
        print("Their files stay, and `mlflow runs restore --run-id ID` brings one back;")
        print("`vertiform gc --yes --permanently` erases them.")
    going = [piece for piece in pieces if not piece.kept]
    removal.remove_pieces(going)
    print(f"{len(going):,} files and folders removed.")
    if cache.unused:
        remove_unused_cache(Path.cwd(), retained)
        print(f"{len(cache.unused):,} objects of DVC's cache removed.")


def _shown(store: "Store", retained: "Retained", pieces: "list[Piece]", cache: "Cache") -> str:
    from vertiform.evaluation.tables import text_table

    header = ["what", "how many", "MB", "", "why"]
    counted: dict[tuple[str, str, str], tuple[int, int]] = {}
    for what, size, verdict, why in _entries(store, retained, pieces, cache):
        count, total = counted.get((what, verdict, why), (0, 0))
        counted[what, verdict, why] = (count + 1, total + size)
    rows = [
        [what, f"{count:,}", f"{size / 1e6:,.1f}", verdict, why]
        for (what, verdict, why), (count, size) in counted.items()
    ]
    return f"\n{text_table(header, rows)}" if rows else "\nThere is nothing here yet."


def _entries(
    store: "Store", retained: "Retained", pieces: "list[Piece]", cache: "Cache"
) -> Iterator[tuple[str, int, str, str]]:
    """Yield (what, bytes, kept or goes, why) for each thing that was looked at."""
    from vertiform.tracking.leftovers import NOBODY, size_of
    from vertiform.tracking.removal import size_at, size_of_run

    for uri, version in retained.inventory.versions.items():
        reason = retained.versions.get(uri)
        yield "versions", size_at(version.source), STAYS if reason else GOES, reason or NOBODY
    for id_, run_ in retained.inventory.runs.items():
        reason = retained.runs.get(id_)
        what = "deleted runs" if run_.is_deleted else "runs"
        yield what, size_of_run(store, run_), STAYS if reason else GOES, reason or NOBODY
    for piece in pieces:
        verdict = STAYS if piece.kept else GOES
        yield piece.what, piece.size_bytes, verdict, piece.kept or NOBODY
    for path in cache.needed:
        yield "DVC's cache", size_of(path), STAYS, cache.kept
    for path in cache.unused:
        yield "DVC's cache", size_of(path), GOES, NOBODY
