"""reports/benchmarks.json, and docs/benchmarks.md rendered from it."""

import json
from collections.abc import Sequence
from typing import Any

from benchmarks.measure import ROOT

REPORT = ROOT / "reports" / "benchmarks.json"
PAGE = ROOT / "docs" / "benchmarks.md"
NOTES = ROOT / "benchmarks" / "notes.md"


def add(rows: Sequence[dict[str, Any]], *, smoke: bool = False) -> None:
    """Put rows in place of older ones of the same work and hardware; render the page.

    A smoke run prints its rows and keeps none.
    """
    for each in rows:
        print(f"{each['work']}: {each['ratio']} ({each['low']} to {each['high']}), target "
              f"{each['target']}", flush=True)  # fmt: skip
    if smoke:
        return
    kept = json.loads(REPORT.read_text()) if REPORT.exists() else []
    new = {(each["work"], each["hardware"]) for each in rows}
    kept = [each for each in kept if (each["work"], each["hardware"]) not in new]
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps([*kept, *rows], indent=2) + "\n")
    render()


def render() -> None:
    """Write docs/benchmarks.md from the report and benchmarks/notes.md."""
    rows = json.loads(REPORT.read_text()) if REPORT.exists() else []
    lines = ["# Benchmarks", "", NOTES.read_text(encoding="utf-8").strip(), ""]
    for hardware in dict.fromkeys(each["hardware"] for each in rows):
        found = [each for each in rows if each["hardware"] == hardware]
        lines += [f"## {hardware}", "", *_table(found), "", _versions(found), ""]
    PAGE.write_text("\n".join(lines), encoding="utf-8")


def _table(rows: Sequence[dict[str, Any]]) -> list[str]:
    lines = [
        "| work | ratio | low to high | target | ours | peer | rounds | checked | data | peer is |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for each in rows:
        unit = each["measure"].replace("_", " ")
        cells = (
            each["work"],
            f"**{each['ratio']:.2f}**",
            f"{each['low']:.2f} to {each['high']:.2f}",
            _against(each),
            f"{each['ours']:,.1f} {unit}",
            f"{each['peer']:,.1f}",
            str(each["rounds"]),
            _checked(each),
            each["data"],
            each["peer_is"],
        )
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _against(each: dict[str, Any]) -> str:
    if each["target"] is None:
        return ""
    if "caution" in each:
        return f"{each['target']}, {each['caution']}"
    return f"{each['target']}, {'reached' if each['ratio'] >= each['target'] else 'missed'}"


def _checked(each: dict[str, Any]) -> str:
    said = []
    if "val_loss" in each:
        ours, peer = each["val_loss"]
        said.append(f"loss {ours:.3f}, {peer:.3f}: {'same' if each['is_same'] else 'NOT the same'}")
    if "f1_macro" in each:
        said.append(f"macro-F1 {each['f1_macro'][0]:.3f}, {each['f1_macro'][1]:.3f}")
    if "flops_utilisation" in each:
        said.append(f"model FLOPs utilisation {each['flops_utilisation']:.3f}")
    if "checked" in each:
        said.append(each["checked"])
    return "; ".join(said)


def _versions(rows: Sequence[dict[str, Any]]) -> str:
    return ", ".join(f"{name} {number}" for name, number in rows[-1]["versions"].items())
