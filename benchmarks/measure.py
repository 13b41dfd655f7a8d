"""Runs sides in turn, each in a process of its own, and sums up what they measured."""

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
MAX_LOSS_GAP = 0.02  # of the peer's validation loss, by which ours may be worse
VERSIONS = ("torch", "transformers", "lightning", "accelerate", "mlflow", "numpy")


def run(module: str, side: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """Run `python -m benchmarks.<module> <side> <spec>`; its last line is JSON. Adds `seconds`.

    The sides share every setting of the environment; threads wait passively, since a core that is
    shared with another process makes spinning threads collapse.
    """
    environment = {"OMP_WAIT_POLICY": "PASSIVE", "TOKENIZERS_PARALLELISM": "false", **os.environ}
    command = [sys.executable, "-m", f"benchmarks.{module}", side, json.dumps(spec)]
    started = time.perf_counter()
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - started
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    found = json.loads(done.stdout.strip().splitlines()[-1])
    return {"seconds": seconds, **found}


def in_turn(
    module: str, sides: Sequence[str], spec: Mapping[str, Any], *, rounds: int
) -> dict[str, list[dict[str, Any]]]:
    """Run the sides A B A B ...; return what each measured, round by round."""
    found: dict[str, list[dict[str, Any]]] = {side: [] for side in sides}
    for round_number in range(rounds):
        for side in sides:
            measured = run(module, side, spec)
            found[side].append(measured)
            shown = {k: v for k, v in measured.items() if k not in ("data", "losses")}
            print(f"  {module} {side} {round_number + 1}/{rounds}: {shown}", flush=True)
    return found


def row(
    work: str,
    target: float | None,
    ours: Sequence[Mapping[str, Any]],
    peer: Sequence[Mapping[str, Any]],
    *,
    peer_is: str,
    key: str = "tokens_per_second",
    less_is_better: bool = False,
    same: str | None = None,
) -> dict[str, Any]:
    """Sum up one row. ratio: of the medians, more is better; low, high: of the rounds.

    same: a measure in which both sides must agree within MAX_LOSS_GAP, or ours be better.
    """
    ratios = [a[key] / b[key] for a, b in zip(ours, peer, strict=True)]
    medians = [statistics.median(each[key] for each in side) for side in (ours, peer)]
    ratio = medians[0] / medians[1]
    if less_is_better:
        ratios, ratio = [1 / each for each in ratios], 1 / ratio
    made: dict[str, Any] = {
        "work": work,
        "ratio": round(ratio, 3),
        "target": target,
        "low": round(min(ratios), 3),
        "high": round(max(ratios), 3),
        "measure": key,
        "ours": round(medians[0], 3),
        "peer": round(medians[1], 3),
        "peer_is": peer_is,
        "rounds": len(ratios),
        "data": ours[0].get("data", ""),
    }
    if same is not None:
        values = [statistics.median(each[same] for each in side) for side in (ours, peer)]
        gap = values[0] / values[1] - 1
        made |= {same: [round(value, 4) for value in values], "loss_gap": round(gap, 4)}
        made["is_same"] = gap <= MAX_LOSS_GAP
    for extra in ("flops_utilisation",):
        if extra in ours[0]:
            made[extra] = round(statistics.median(each[extra] for each in ours), 4)
    return made | {"versions": versions(), "hardware": hardware()}


def limit_row(
    work: str, ours: Sequence[float], *, limit: float, measure: str, checked: str
) -> dict[str, Any]:
    """A row against a stated limit instead of a peer: ratio 1 is just within it."""
    return row(
        work,
        1.0,
        [{measure: each} for each in ours],
        [{measure: limit}] * len(ours),
        peer_is="the most it may be",
        key=measure,
        less_is_better=True,
    ) | {"checked": checked}


def versions() -> dict[str, str]:
    """Return Python's version and those of the libraries that take part."""
    found = {"python": platform.python_version()}
    for name in VERSIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def hardware() -> str:
    """Name the GPU if PyTorch sees one, else the processor and how many of its cores are ours."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    name, flags = platform.machine(), ""
    facts = Path("/proc/cpuinfo")
    if facts.exists():
        lines = dict(
            (part.strip() for part in line.split(":", 1))
            for line in facts.read_text().splitlines()
            if ":" in line
        )
        name = lines.get("model name", name)
        flags = ", AVX-512" if " avx512f" in lines.get("flags", "") else ""
        flags += ", AMX" if " amx_bf16" in lines.get("flags", "") else ""
    return f"{name}{flags}, {len(os.sched_getaffinity(0))} cores"
