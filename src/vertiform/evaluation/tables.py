"""Tables for people: the same cells as aligned plain text or as markdown."""

from collections.abc import Sequence


def text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Align cells in columns under a rule; numbers to the right. No newline at the end."""
    columns = list(zip(header, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    is_right = [_looks_numeric(column[1:]) for column in columns]
    lines = [_aligned(header, widths, is_right), "  ".join("-" * width for width in widths)]
    lines += [_aligned(row, widths, is_right) for row in rows]
    return "\n".join(lines)


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Write cells as a GitHub-flavored markdown table. No newline at the end."""
    columns = list(zip(header, *rows, strict=True))
    rules = ["---:" if _looks_numeric(column[1:]) else "---" for column in columns]
    escaped = [[_escaped(cell) for cell in row] for row in (header, *rows)]
    return "\n".join("| " + " | ".join(row) + " |" for row in (escaped[0], rules, *escaped[1:]))


def number(value: float) -> str:
    """Write a score to three digits after the point."""
    return f"{value:.3f}"


def with_interval(value: float, low: float, high: float) -> str:
    """Write a score and its interval: "0.812 (0.790 to 0.833)"."""
    return f"{value:.3f} ({low:.3f} to {high:.3f})"


def signed_with_interval(value: float, low: float, high: float) -> str:
    """Write a difference and its interval: "+0.062 (-0.010 to +0.133)"."""
    return f"{value:+.3f} ({low:+.3f} to {high:+.3f})"


def _aligned(cells: Sequence[str], widths: Sequence[int], is_right: Sequence[bool]) -> str:
    padded = [
        cell.rjust(width) if right else cell.ljust(width)
        for cell, width, right in zip(cells, widths, is_right, strict=True)
    ]
    return "  ".join(padded).rstrip()


def _looks_numeric(cells: Sequence[str]) -> bool:
    filled = [cell for cell in cells if cell not in ("", "-")]
    return bool(filled) and all(cell.lstrip("+-").replace(",", "")[:1].isdigit() for cell in filled)


def _escaped(cell: str) -> str:
    return " ".join(cell.split()).replace("|", "\\|")
