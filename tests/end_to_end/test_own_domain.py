"""docs/own-domain.md, done as written, on the first rows of the files that it speaks of."""

import itertools
import json
import lzma
import re
from pathlib import Path

import pytest

from tests.end_to_end.workspace import ROOT, make_workspace, run

pytestmark = pytest.mark.slow

SHARED = ROOT.parent / "shared" / "data"
ROWS = {
    "pt_medquad/qa.jsonl.xz": 1500,
    "cls_ohsumed/train.jsonl.xz": 500,
    "cls_ohsumed/test.jsonl.xz": 150,
    "ner_bc5cdr/train.jsonl.xz": 300,
    "ner_bc5cdr/dev.jsonl.xz": 100,
    "ner_bc5cdr/test.jsonl.xz": 150,
}
PAGE = (ROOT / "docs" / "own-domain.md").read_text()
ENTRY, RELEASE = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[:2]
# A minute instead of an hour; what the page shows is what stays.
SHORTER = (
    (
        r"pretrain: \[(.*?)\]",
        r"pretrain: [\1, budget.total_tokens=40960, budget.validate_every_steps=10]",
    ),
    (
        r"finetune: \[(.*?)\]",
        r"finetune: [\1, ~starts.general, budget.epochs=1, trainer.threads=1]",
    ),
    (
        r"promote: \[(.*?)\]",
        (
            "promote: [~gates.better_than_baseline, ~gates.floors, ~gates.worst_slice, "
            "~gates.robustness, ~gates.calibration]"
        ),
    ),
    (r"evaluate: \[(.*?)\]", r"evaluate: [\1]"),
)


def first_rows(file: Path, *, rows: int, at: Path) -> None:
    at.parent.mkdir(parents=True, exist_ok=True)
    with lzma.open(file, "rb") as whole, lzma.open(at, "wb") as part:
        part.writelines(itertools.islice(whole, rows))


def with_the_pages_entries(params: str) -> str:
    release = RELEASE
    for pattern, shorter in SHORTER:
        release = re.sub(pattern, shorter, release, flags=re.DOTALL)
    params = re.sub(r"\n# What `dvc repro` trains.*", "", params, flags=re.DOTALL)
    # So few rows do not hold the page's vocabulary.
    entry = ENTRY.replace("vocab_size: 16000", "vocab_size: 3000")
    return f"{params}{entry}\n{release}"


def test_the_page_takes_a_medical_domain_to_staging_by_params_alone(tmp_path):
    if not SHARED.exists():
        pytest.skip("the medical files lie beside the project, and are not there: ../shared/data")
    for name, rows in ROWS.items():
        first_rows(SHARED / name, rows=rows, at=tmp_path / "health" / name)
    folder = make_workspace(
        tmp_path / "work", params=with_the_pages_entries((ROOT / "params.yaml").read_text())
    )
    stages = [f"promote@{task}" for task in ("ohsumed", "bc5cdr")]
    done = run(folder, "dvc", "repro", *stages)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]

    for task in ("ohsumed", "bc5cdr"):
        moved = json.loads((folder / f"reports/health/promote/{task}.json").read_text())
        assert (moved["action"], moved["alias"]) == ("moved", "staging")
    tokens = json.loads((folder / "data/health/tokens/manifest.json").read_text())
    assert tokens["splits"]["train"]["unknown_fraction"] < 0.001
    assert tokens["contamination"]["overlap_after"] == 0
    asked = run(
        folder, "vertiform", "predict", "health-bc5cdr", "--json", "Aspirin and asthma.", check=True
    )
    assert json.loads(asked.stdout)["text"] == "Aspirin and asthma."
