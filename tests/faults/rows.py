"""What came of each fault: a row in reports/faults.json, and the table in docs/reliability.md."""

import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vertiform.evaluation.tables import markdown_table
from vertiform.files import written_whole

REPOSITORY = Path(__file__).parents[2]
REPORT = REPOSITORY / "reports" / "faults.json"
PLANTED = REPOSITORY / "reports" / "planted.json"
PAGE = REPOSITORY / "docs" / "reliability.md"


@dataclass(frozen=True, kw_only=True)
class Row:
    """Points that logging had accepted, and what MLflow holds of them."""

    fault: str
    expected: int
    present: int
    twice: int
    missing: int
    aliases_ok: bool
    saw: str  # the line that a person saw; "" for none
    happened: str  # how it is known that the fault did
    seconds: float = 0.0


def keep(report: Path, key: str, rows: Iterable[Mapping[str, Any]], order: Sequence[str]) -> None:
    """Put rows in the place of those of the same name, in the order that the tests have."""
    kept = {row[key]: row for row in json.loads(report.read_text())} if report.exists() else {}
    kept |= {row[key]: dict(row) for row in rows}
    ordered = [kept[name] for name in order if name in kept]
    with written_whole(report) as file:
        file.write(json.dumps(ordered, indent=1) + "\n")


def keep_row(row: Row, order: Sequence[str]) -> None:
    """Keep a fault's row, and write the page's table anew."""
    with one_at_a_time():
        keep(REPORT, "fault", [asdict(row)], order)
        rows = json.loads(REPORT.read_text())
        show("faults", fault_table(rows) + "\n\n" + fault_lines(rows))


def keep_planted(name: str, caught_by: str, reason: str, *, order: Sequence[str]) -> None:
    """Keep which test caught a planted bug, and write the page's table anew."""
    with one_at_a_time():
        keep(PLANTED, "bug", [{"bug": name, "caught_by": caught_by, "reason": reason}], order)
        rows = json.loads(PLANTED.read_text())
        show("planted", planted_table(rows))


def planted_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The table of bugs, as Markdown."""
    told = [[row["bug"], f"`{row['caught_by'].rpartition('/')[2]}`"] for row in rows]
    return f"{len(rows)} bugs were planted and caught.\n\n" + markdown_table(
        ("bug", "caught by"), told
    )


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Wait for another test that writes the page at this moment."""
    folder = os.open(REPORT.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def fault_table(rows: Iterable[Mapping[str, Any]]) -> str:
    """The table of faults, as Markdown."""
    header = ("fault", "happened", "expected", "present", "twice", "missing", "aliases load")
    return markdown_table(
        header,
        [
            [
                row["fault"],
                row["happened"],
                *(f"{row[key]:,}" for key in ("expected", "present", "twice", "missing")),
                "yes" if row["aliases_ok"] else "NO",
            ]
            for row in rows
        ],
    )


def fault_lines(rows: Iterable[Mapping[str, Any]]) -> str:
    """What a person saw, fault by fault."""
    said = [f"- **{row['fault']}**: `{row['saw']}`" for row in rows if row["saw"]]
    silent = [row["fault"] for row in rows if not row["saw"]]
    total = sum(row["seconds"] for row in rows)
    nothing = f"\n\nNothing at all was to be seen of: {'; '.join(silent)}." if silent else ""
    return (
        "What a person saw:\n\n"
        + "\n".join(said)
        + nothing
        + (f"\n\nThe whole took {total / 60:.0f} minutes.")
    )


def show(part: str, text: str, page: Path = PAGE) -> None:
    """Put `text` between the marks of its part in the page."""
    begin, end = f"<!-- {part}: made by `make test-slow` -->", f"<!-- end of {part} -->"
    whole = page.read_text(encoding="utf-8")
    before, _, rest = whole.partition(begin)
    _, _, after = rest.partition(end)
    assert rest, f"{page} has no place for {part}"
    with written_whole(page) as file:
        file.write(f"{before}{begin}\n{text}\n{end}{after}")
