"""The three stages as DVC runs them: scripts, one after the other, in a folder of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARAMS = """
domains:
  notes:
    collect:
      files:
        - {name: notes, glob: "*.txt", licence: "MIT", one_document_per: line}
    clean:
      prose_sources: []
      strips_html: true
      min_words: 5
      max_words: 100000
      max_symbol_fraction: 0.25
      max_digit_fraction: 0.2
      repetition:
        max_duplicate_line_fraction: 0.30
        max_duplicate_line_character_fraction: 0.20
        max_duplicate_paragraph_fraction: 0.30
        max_duplicate_paragraph_character_fraction: 0.20
        max_top_ngram_fraction: [0.20, 0.18, 0.16]
        max_duplicate_ngram_fraction: [0.15, 0.14, 0.13, 0.12, 0.11, 0.10]
      languages: ["en"]
      short_characters: 200
      short_confidence: 0.9
    dedup:
      {shingle_words: 3, min_jaccard: 0.8, min_group_jaccard: 0.5, num_bands: 21, rows_per_band: 6}
"""
STAGES = {
    "collect": ["--input", "raw", "--out", "collected"],
    "clean": ["--documents", "collected", "--out", "cleaned", "--dropped", "cleaned-dropped"],
    "dedup": ["--documents", "cleaned", "--out", "deduplicated", "--dropped", "dropped"],
}


def run_stage(stage: str, folder: Path) -> subprocess.CompletedProcess[str]:
    script = [sys.executable, "-m", f"pipelines.{stage}"]
    return subprocess.run(
        [*script, "--domain", "notes", "--report", f"{stage}.json", *STAGES[stage]],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_text_goes_through_the_three_stages(tmp_path):
    (tmp_path / "params.yaml").write_text(PARAMS)
    (tmp_path / "raw").mkdir()
    gout = "Gout is a painful disease of the joints."
    lines = [gout, "Too short.", "Acid makes small crystals grow.", gout, "It hurts at night too."]
    (tmp_path / "raw" / "a.txt").write_text("\n".join(lines))
    for stage in STAGES:
        done = run_stage(stage, tmp_path)
        assert done.returncode == 0, done.stderr
        report = json.loads((tmp_path / f"{stage}.json").read_text())
        assert f"{stage}@notes: {report['summary']}" in done.stdout
    assert report["documents_in"] == 4
    assert report["dropped_exact"] == 1


@pytest.mark.slow
def test_a_stage_without_its_input_ends_with_a_fix_and_leaves_nothing(tmp_path):
    (tmp_path / "params.yaml").write_text(PARAMS)
    done = run_stage("collect", tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "Error: raw, the input of the source `notes`, does not exist.",
        "  Fix: put the text there, or correct `input` of the domain in params.yaml.",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]
