"""A fine-tuned model in one folder: what is registered, served and scored.

Hugging Face's files (config.json, model.safetensors, tokenizer files), which any tool loads as an
encoder; head.safetensors, what is added to it (tasks.network); task.json, written last, with what
the outputs mean and the sha256 of every other file.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from vertiform.errors import TrainingError, did_you_mean
from vertiform.evaluation import names
from vertiform.files import (
    folder_written_whole,
    leads_outside,
    read_json,
    sha256_of,
    write_json,
)
from vertiform.models.encoder import load_encoder
from vertiform.models.loading import foreign_code_refused
from vertiform.models.quiet import quiet_transformers
from vertiform.tasks.network import TaskNetwork

FORMAT = 1
HEAD, FACTS = "head.safetensors", "task.json"


@dataclass(frozen=True, kw_only=True)
class BundleFacts:
    """What task.json says of the network beside it.

    start:       what it was fine-tuned from: "scratch", "domain", "general" ...
    temperature: divides the logits (tasks.calibration).
    validation:  scores of the validation split, under their full names.
    task_sha256: of each split it was made with.
    """

    task: str
    kind: str
    labels: tuple[str, ...]
    language: str
    split_rule: str
    start: str
    pooling: str
    max_tokens: int
    temperature: float
    validation: Mapping[str, float]
    task_sha256: Mapping[str, str]


@dataclass(frozen=True)
class Bundle:
    """A bundle in memory. The network is in evaluation mode."""

    network: TaskNetwork
    tokenizer: Any
    facts: BundleFacts


def write_bundle(out: Path, bundle: Bundle) -> None:
    """Write `bundle` to the folder `out`, whole or not at all."""
    with folder_written_whole(out) as aside, quiet_transformers():
        bundle.network.encoder.save_pretrained(aside)
        bundle.tokenizer.save_pretrained(aside)
        save_file(bundle.network.added.state_dict(), aside / HEAD)
        files = sorted(path for path in aside.iterdir() if path.is_file())
        facts = {
            "format": FORMAT,
            **asdict(bundle.facts),
            "sha256": {path.name: sha256_of(path) for path in files},
        }
        write_json(aside / FACTS, facts)


def read_bundle(folder: Path) -> Bundle:
    """Read a bundle. Raises TrainingError if it is none, or not as it was written."""
    values = _checked_facts(folder)
    given: dict[str, Any] = {key: values[key] for key in BundleFacts.__dataclass_fields__}
    facts = replace(BundleFacts(**given), labels=tuple(given["labels"]))
    head = load_file(folder / HEAD)
    network = TaskNetwork(
        load_encoder(folder),
        num_outputs=len(head["head.bias"]),
        pooling=facts.pooling,
        sees_case="cases.weight" in head,
    )
    network.added.load_state_dict(head)
    return Bundle(network=network.eval(), tokenizer=load_tokenizer(folder), facts=facts)


def load_tokenizer(folder: Path) -> Any:
    """Load the fast tokenizer of a checkpoint or tokens folder."""
    from transformers import AutoTokenizer

    if not (folder / "tokenizer.json").is_file():
        raise TrainingError(
            f"{folder} has no tokenizer.json.",
            fix="name a checkpoint folder that has its tokenizer in it.",
        )
    with quiet_transformers(), foreign_code_refused(folder / "tokenizer_config.json"):
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def _checked_facts(folder: Path) -> dict[str, Any]:
    if not (folder / FACTS).is_file():
        raise TrainingError(
            f"{folder} is no fine-tuned model: it has no {FACTS}.",
            fix="run `vertiform finetune`, which writes one, or `dvc pull` the one of a colleague.",
        )
    values = read_json(folder / FACTS)
    if values["format"] != FORMAT:
        raise TrainingError(
            f"{folder} is in format {values['format']}; this version reads {FORMAT}.",
            fix="fine-tune again with this version, or read it with the version that wrote it.",
        )
    for name, expected in values["sha256"].items():
        if leads_outside(name):
            raise TrainingError(
                f"{folder} names a file outside of itself: {name}.",
                fix="do not use it; take the model from whoever fine-tuned it again.",
            )
        if not (folder / name).is_file() or sha256_of(folder / name) != expected:
            raise TrainingError(
                f"{folder / name} is not what was written.",
                fix="run `dvc checkout` to bring it back, or `dvc repro` to train it again.",
            )
    if values["kind"] not in names.SCORES:
        raise TrainingError(
            f"{folder} is of the unknown kind `{values['kind']}`.",
            fix=did_you_mean(values["kind"], names.SCORES),
        )
    return values
