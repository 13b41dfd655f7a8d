"""Takes the tokenizer of a checkpoint, so that it can go on from the domain's tokens."""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from vertiform.checkpoint_names import TOKENIZER_FILES, checkpoint_folder
from vertiform.corpus.extension import PREFIX, pick_tokens, with_tokens, word_counts
from vertiform.corpus.tokenizer import (
    SPECIAL_TOKENS,
    DomainTokenizer,
    TokenizerParams,
    check_keys,
)
from vertiform.errors import ConfigError, CorpusError
from vertiform.files import read_json

ROLE_FILES = ("special_tokens_map.json", "tokenizer_config.json")  # the later has the last word


def tokenizer_of_checkpoint(
    texts: Callable[[], Iterable[str]], params: TokenizerParams, *, domain: str
) -> DomainTokenizer:
    """Read the tokenizer of `params.checkpoint`; add the `extend_by` tokens that save most.

    texts: of the domain's training split; read only where tokens are added.
    Raises ConfigError if there is no such checkpoint or its tokenizer cannot be used, CorpusError
    if the text gives fewer tokens than asked for.
    """
    check_keys(params, domain=domain)
    name, most = str(params.checkpoint), int(params.extend_by or 0)
    where = f"domains.{domain}.tokenize.tokenizer"
    if most < 0:
        raise ConfigError(
            f"{where}.extend_by is {most}.", fix="write how many tokens to add, or 0 for none."
        )
    folder = checkpoint_folder(name, files=TOKENIZER_FILES, online=params.online)
    tokenizer = _read(folder, name)
    values = json.loads(tokenizer.to_str())
    found = DomainTokenizer(tokenizer, _kind_of(values, name), _special_tokens(folder, name))
    if not most:
        return found
    _check_can_be_extended(values, name, where)
    vocabulary = values["model"]["vocab"]
    tokens = pick_tokens(word_counts(texts(), tokenizer), vocabulary, most=most)
    if len(tokens) < most:
        raise CorpusError(
            f"The text of `{domain}` gives {len(tokens):,} tokens that save any, not the {most:,} "
            "asked for.",
            fix=f"lower {where}.extend_by in params.yaml to {len(tokens):,} or below, or collect "
            "more text.",
        )
    return DomainTokenizer(
        with_tokens(tokenizer, tokens), found.kind, found.special_tokens, extended_from=tokenizer
    )


def _read(folder: Path, name: str) -> Tokenizer:
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise ConfigError(
            f"The checkpoint {name} has no tokenizer.json.",
            fix="load it with transformers' AutoTokenizer and save_pretrained(<folder>), which "
            "writes one, and name that folder.",
        )
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
        raise ConfigError(
            f"The tokenizer.json of {name} cannot be read: {str(error).splitlines()[0]}",
            fix="download the checkpoint again, or name another.",
        ) from error
    # A checkpoint of sentence embeddings cuts and pads every text to 128 tokens, say. Documents
    # are stored whole.
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _kind_of(values: Mapping[str, Any], name: str) -> str:
    kind = values["model"]["type"]
    if kind == "WordPiece":
        return "wordpiece"
    if kind == "BPE" and "ByteLevel" in json.dumps(values["pre_tokenizer"]):
        return "byte_level_bpe"
    raise ConfigError(
        f"The tokenizer of {name} is of the kind {kind}, which Vertiform does not read.",
        fix="name a checkpoint with a WordPiece (BERT) or byte-level BPE (RoBERTa) tokenizer.",
    )


def _special_tokens(folder: Path, name: str) -> dict[str, str]:
    """The five special tokens by role, as the checkpoint's own files name them."""
    said: dict[str, Any] = {}
    for file in ROLE_FILES:
        if (folder / file).is_file():
            said |= {k: v for k, v in read_json(folder / file).items() if v is not None}
    tokens = {role: said.get(f"{role}_token") for role in SPECIAL_TOKENS}
    missing = [role for role, token in tokens.items() if token is None]
    if missing:
        raise ConfigError(
            f"The tokenizer of {name} names no special token for {', '.join(missing)}.",
            fix="name a checkpoint that has all five (BERT, RoBERTa), or train a tokenizer: kind "
            "wordpiece or byte_level_bpe.",
        )
    return {role: t["content"] if isinstance(t, dict) else str(t) for role, t in tokens.items()}


def _check_can_be_extended(values: Mapping[str, Any], name: str, where: str) -> None:
    model = values["model"]
    if model["type"] == "WordPiece" and model["continuing_subword_prefix"] == PREFIX:
        return
    raise ConfigError(
        f"{where}.extend_by asks for new tokens, but only WordPiece tokenizers can be extended; "
        f"that of {name} is {model['type']}.",
        fix="set extend_by to 0: byte-level BPE writes every word with the tokens it has.",
    )
