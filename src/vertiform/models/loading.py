"""Checkpoint folders in Hugging Face's format: read, never unpickled, and written whole."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers import AutoConfig, PreTrainedModel

from vertiform.errors import TrainingError
from vertiform.files import folder_written_whole, read_json
from vertiform.models.attention import PACKED
from vertiform.models.quiet import quiet_transformers

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")  # reading one can run any code


def load(kind: Any, folder: Path, **options: Any) -> PreTrainedModel:
    """Load the network in `folder` as `kind`, a class of transformers, to read packed windows.

    options: those of from_pretrained, values of the config among them. What the checkpoint lacks is
    drawn from torch's generator. Raises TrainingError for a folder that is no checkpoint.
    """
    check_is_checkpoint(folder)
    with quiet_transformers(), foreign_code_refused(folder / "config.json"):
        return kind.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,  # never unpickle
            trust_remote_code=False,
            attn_implementation=PACKED,
            dtype="float32",
            **options,
        )


def dropouts(dropout: float | None) -> dict[str, float]:
    """Values of BERT's and ELECTRA's configs: no attention dropout, and `dropout` unless None."""
    attention = {"attention_probs_dropout_prob": 0.0}  # above 0, attention leaves its fused paths
    return attention if dropout is None else attention | {"hidden_dropout_prob": dropout}


def read_config(folder: Path) -> Any:
    """Read the transformers config of a checkpoint folder."""
    check_is_checkpoint(folder)
    with foreign_code_refused(folder / "config.json"):
        return AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def save_checkpoint(network: PreTrainedModel, *, tokenizer: Path, out: Path) -> None:
    """Write `network` and the tokenizer of folder `tokenizer` to `out`, whole or not at all.

    The format is Hugging Face's: config.json, model.safetensors, tokenizer files.
    """
    with folder_written_whole(out) as aside, quiet_transformers():
        network.save_pretrained(aside)
        for name in TOKENIZER_FILES:
            shutil.copyfile(tokenizer / name, aside / name)


@contextmanager
def foreign_code_refused(config: Path) -> Iterator[None]:
    """Say so where transformers stops because a folder's `config` names code of its own to run.

    An architecture that transformers has is loaded by its own code, whatever the config names.
    """
    try:
        yield
    except ValueError as error:
        if not config.is_file() or "auto_map" not in read_json(config):
            raise
        raise TrainingError(
            f"{config.parent} wants to run code that it brings along, which Vertiform never does.",
            fix="name a checkpoint of an architecture that transformers has itself.",
        ) from error


def check_is_checkpoint(folder: Path) -> None:
    """Raise TrainingError unless the folder holds a network in Hugging Face's format."""
    missing = [n for n in ("config.json", "model.safetensors") if not (folder / n).is_file()]
    pickles = sorted(path.name for pattern in PICKLES for path in folder.glob(pattern))
    if missing == ["model.safetensors"] and pickles:
        raise TrainingError(
            f"{folder} keeps its weights as a pickle ({pickles[0]}), which could run any code.",
            fix="ask whoever made it for model.safetensors, which save_pretrained of transformers "
            "writes; Vertiform never unpickles.",
        )
    if missing:
        raise TrainingError(
            f"{folder} is no checkpoint: it has no {' and no '.join(missing)}.",
            fix="name a folder in Hugging Face's format; `vertiform pretrain` writes one.",
        )
