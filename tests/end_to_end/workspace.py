"""A workspace beside the project: the same pipelines and conf, a domain small enough for a test."""

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
COPIED = (
    "conf",
    "pipelines",
    "src",
    "dvc.yaml",
    "requirements.lock",
    "pyproject.toml",
    ".gitignore",
)

# What so small a network, asked about 36 rows, cannot show.
LENIENT = (
    "gates.worst_slice.min_rows=1000",
    "gates.calibration.calibration_error=1.0",
    "gates.calibration.entity_calibration_error=1.0",
    "gates.robustness.max_drop_typos=1.0",
    "gates.robustness.max_drop_capitals=1.0",
    "gates.robustness.max_drop_lower_case=1.0",
    "gates.robustness.max_drop_truncation=1.0",
)
PARAMS = """\
domains:
  tiny:
    input: raw
    collect:
      files:
        - {name: notes, glob: "notes.jsonl", licence: CC0-1.0}
    clean:
      prose_sources: []
      strips_html: false
      min_words: 5
      max_words: 1000
      max_symbol_fraction: 0.5
      max_digit_fraction: 0.5
      repetition:
        max_duplicate_line_fraction: 1.0
        max_duplicate_line_character_fraction: 1.0
        max_duplicate_paragraph_fraction: 1.0
        max_duplicate_paragraph_character_fraction: 1.0
        max_top_ngram_fraction: [1.0, 1.0, 1.0]
        max_duplicate_ngram_fraction: [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
      languages: []
      short_characters: 200
      short_confidence: 0.9
    dedup:
      {shingle_words: 5, min_jaccard: 0.8, min_group_jaccard: 0.6, num_bands: 21, rows_per_band: 6}
    label:
      tasks:
        topic:
          kind: classification
          language: "en"
          files: {train: topic.jsonl, validation_fraction: 0.2, test_fraction: 0.3}
        names:
          kind: entities
          language: "en"
          files: {train: names.jsonl, validation_fraction: 0.2, test_fraction: 0.3}
    tokenize:
      languages: ["en"]
      decontaminate: {ngram_words: 13, min_example_words: 8}
      tokenizer: {kind: wordpiece, vocab_size: 150, lowercase: true, max_alphabet_characters: 60}
      validation_fraction: 0.1
      test_fraction: 0.1
release:
  domain: tiny
  pretrain: [model.width=32, model.heads=2, model.feed_forward_width=64, model.max_tokens=64,
    batches.window_tokens=32, batches.windows_per_batch=4, budget.total_steps=6,
    budget.validate_every_steps=3, trainer.threads=1]
  tasks:
    topic:
      finetune: [~starts.general, budget.epochs=2, trainer.threads=1]
      evaluate: [bootstrap.resamples=100]
      promote: [gates.floors.f1_macro=0.0, LENIENT]
    names:
      finetune: [task=entities, ~starts.general, budget.epochs=1, trainer.threads=1]
      evaluate: [bootstrap.resamples=100]
      promote: [gates.floors.entity_f1=0.0, ~gates.better_than_baseline, LENIENT]
""".replace("LENIENT", ", ".join(LENIENT))

SUBJECTS = {
    "harbour": ["ship", "crane", "cargo", "tide", "pier", "sailor", "anchor", "rope", "deck"],
    "kitchen": ["oven", "spoon", "flour", "butter", "plate", "onion", "knife", "kettle", "salt"],
}
VERBS = ["moves", "takes", "holds", "shows", "needs", "lifts", "finds", "keeps", "turns", "leaves"]
PEOPLE = ["Ada", "Bert", "Clara", "Dora", "Emil", "Frida", "Gustav", "Hanna", "Ivo", "Jana"]


def make_workspace(folder: Path, *, params: str = PARAMS) -> Path:
    """Copy the project's recipe to `folder`, and give it params.yaml, raw text, git and DVC."""
    folder.mkdir(parents=True)
    for name in COPIED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
        copy(ROOT / name, folder / name)
    shutil.rmtree(folder / "src" / "vertiform.egg-info", ignore_errors=True)
    (folder / "params.yaml").write_text(params)
    write_raw(folder / "raw", seed=0)
    for command in (
        "git init -q",
        "dvc init -q",
        "git add -A",
        "git -c user.name=t -c user.email=t@t commit -q -m start",
    ):
        run(folder, *command.split(), check=True)
    return folder


def write_raw(folder: Path, *, seed: int) -> None:
    """Write notes to pretrain on, and two labelled tasks."""
    folder.mkdir()
    rng = random.Random(seed)
    sentences = [sentence(rng, topic) for topic in SUBJECTS for _ in range(150)]
    notes = [" ".join(words for words, _ in rng.sample(sentences, 4)) for _ in range(120)]
    write_lines(folder / "notes.jsonl", [{"text": text} for text in notes])
    topic = [
        {"text": sentence(rng, label)[0], "label": label} for label in SUBJECTS for _ in range(60)
    ]
    write_lines(folder / "topic.jsonl", topic)
    tagged = [sentence(rng, label) for label in SUBJECTS for _ in range(60)]
    write_lines(
        folder / "names.jsonl", [{"tokens": text.split(), "tags": tags} for text, tags in tagged]
    )


def sentence(rng: random.Random, topic: str) -> tuple[str, list[str]]:
    """A sentence of ten words on a topic, and the tag of each."""
    words, tags = [], []
    for place in range(10):
        if place % 5 == 0:
            words.append(rng.choice(PEOPLE))
            tags.append("B-person")
        else:
            words.append(rng.choice(VERBS if place % 2 else SUBJECTS[topic]))
            tags.append("O")
    return " ".join(words), tags


def write_lines(path: Path, rows: list[dict]) -> None:
    """Write rows as JSON Lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def run(folder: Path, *command: str, check: bool = False) -> subprocess.CompletedProcess[str]:
    """Run a command in the workspace, its own sources first, one thread, and no network."""
    done = subprocess.run(
        command, cwd=folder, env=environment(folder), capture_output=True, text=True
    )
    if check and done.returncode != 0:
        raise AssertionError(
            f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        )
    return done


def start(folder: Path, *command: str) -> subprocess.Popen[bytes]:
    """Start a server in the workspace; the caller ends it."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command, cwd=folder, env=environment(folder), **quiet)


def environment(folder: Path) -> dict[str, str]:
    """What a command of the workspace sees."""
    return os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(folder / "src"),
        "OMP_NUM_THREADS": "1",
        "DVC_NO_ANALYTICS": "1",
    }
