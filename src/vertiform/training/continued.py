"""The checkpoint that pretraining goes on from, and what its vocabulary gained since."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from vertiform.checkpoint_names import checkpoint_folder
from vertiform.corpus.extension import PREFIX, pieces_of
from vertiform.errors import TrainingError


@dataclass(frozen=True, kw_only=True)
class PretrainStart:
    """A checkpoint that pretraining goes on from.

    added: for each token that the domain's vocabulary adds to the checkpoint's, its id and the ids
           of the pieces that stood for it; for models.extension.extend_embeddings.
    """

    folder: Path
    added: Mapping[int, tuple[int, ...]]


def resolve_start(name: str | Path, *, tokens: Path, domain: str) -> PretrainStart:
    """Find the checkpoint to go on from, and see that `tokens` were made by its tokenizer.

    name: as of vertiform/checkpoint_names.py; one in MLflow is given as the folder that
    tracking.starts fetched. The tokens may have been made by an extension of its tokenizer.
    Raises ConfigError for a name that leads nowhere, TrainingError for another tokenizer.
    """
    folder = checkpoint_folder(str(name))
    theirs, ours = _tokenizer(folder), _tokenizer(tokens)
    old, new = (t.get_vocab(with_added_tokens=True) for t in (theirs, ours))
    if _way_of(theirs) != _way_of(ours) or not new.items() >= old.items():
        raise TrainingError(
            f"{tokens} was made by another tokenizer than that of {name}, so its ids mean other "
            "words to that checkpoint.",
            fix=f"set domains.{domain}.tokenize.tokenizer in params.yaml to {{kind: checkpoint, "
            f"checkpoint: {name}, extend_by: 0}} and run `dvc repro tokenize@{domain}`, or set "
            "weights=null to train from scratch.",
        )
    added = sorted((new[token], token) for token in new.keys() - old.keys())
    return PretrainStart(
        folder=folder, added={number: _pieces(token, theirs, old) for number, token in added}
    )


def _pieces(token: str, before: Tokenizer, vocabulary: Mapping[str, int]) -> tuple[int, ...]:
    """The ids that stood for an added token. A character that could not continue a word before
    starts from the same one at a word's start.
    """
    continues = token.startswith(PREFIX)
    text = token.removeprefix(PREFIX)
    pieces = pieces_of(text, vocabulary, continues=continues) or pieces_of(text, vocabulary)
    return tuple(vocabulary[piece] for piece in pieces or (before.model.unk_token,))


def _tokenizer(folder: Path) -> Tokenizer:
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise TrainingError(
            f"{folder} has no tokenizer.json.",
            fix="name a checkpoint folder that has its tokenizer in it.",
        )
    return Tokenizer.from_file(str(path))


def _way_of(tokenizer: Tokenizer) -> tuple[Any, ...]:
    """How a tokenizer cuts text, its vocabulary and how it pads left out."""
    values = json.loads(tokenizer.to_str())
    model = {key: value for key, value in values["model"].items() if key != "vocab"}
    return model, values["normalizer"], values["pre_tokenizer"]
