"""What the report of `collect` says of each source."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Tally:
    """One source as it was read: what it is, under which licence, and what came out of it.

    rows:     what it held: rows of a file, docstrings of a package.
    sha256:   of the bytes read.
    skipped:  reason -> rows that became no document.
    """

    source: str
    name: str
    licence: str
    version: str | None = None
    rows: int = 0
    documents: int = 0
    sha256: str = ""
    skipped: Counter[str] = field(default_factory=Counter)
    unreadable: list[str] = field(default_factory=list)

    def as_report(self) -> dict[str, Any]:
        """Return plain JSON values, without what says nothing."""
        report: dict[str, Any] = {
            "source": self.source,
            "name": self.name,
            "licence": self.licence,
            "rows": self.rows,
            "documents": self.documents,
            "sha256": self.sha256,
        }
        if self.version is not None:
            report["version"] = self.version
        if self.skipped:
            report["skipped"] = dict(sorted(self.skipped.items()))
        if self.unreadable:
            report["unreadable"] = self.unreadable
        return report
