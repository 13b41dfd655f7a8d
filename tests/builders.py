"""Small real things that tests of several rooms start from."""

from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from vertiform.batches.vocabulary import Vocabulary, vocabulary_of
from vertiform.corpus.manifest import (
    Contamination,
    Manifest,
    SpecialIds,
    SplitFacts,
    TokenizerFacts,
    write_manifest,
)
from vertiform.files import sha256_of

SPECIAL = SpecialIds(pad=0, unk=1, cls=2, sep=3, mask=4)
NUM_SPECIAL = 5
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
ROLES = ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token")


def documents_of_tokens(
    *, number: int, mean_tokens: int, vocab_size: int, seed: int
) -> list[np.ndarray]:
    """Documents with something to learn: token n comes with a probability of about 1 / n."""
    rng = np.random.default_rng(seed)
    rank = 1 + np.arange(vocab_size - NUM_SPECIAL)
    probabilities = (1 / rank) / (1 / rank).sum()
    lengths = rng.poisson(mean_tokens, size=number).clip(min=1)
    return [NUM_SPECIAL + rng.choice(len(rank), size=n, p=probabilities) for n in lengths]


def write_tokens(
    folder: Path,
    splits: dict[str, list[np.ndarray]],
    *,
    vocab_size: int,
    domain: str = "tiny",
) -> Manifest:
    """Write a tokens folder like the stage tokenize does: shards, tokenizer, manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_tokenizer(folder, vocab_size=vocab_size)
    manifest = Manifest(
        domain=domain,
        vocab_size=vocab_size,
        dtype="uint16",
        special_ids=SPECIAL,
        tokenizer=TokenizerFacts(kind="wordpiece", sha256=sha256_of(folder / "tokenizer.json")),
        languages=("en",),
        splits={name: _write_split(folder, name, docs) for name, docs in splits.items()},
        contamination=Contamination(
            examples=0, documents_dropped=0, ngram_words=13, overlap_after=0
        ),
        data_sha256="0" * 64,
    )
    write_manifest(folder, manifest)
    return manifest


def tiny_tokens(folder: Path, *, vocab_size: int = 60, seed: int = 0) -> Manifest:
    """A tokens folder of a few thousand tokens."""
    sizes = {"train": 120, "validation": 20, "test": 20}
    splits = {
        name: documents_of_tokens(
            number=number, mean_tokens=25, vocab_size=vocab_size, seed=seed + place
        )
        for place, (name, number) in enumerate(sizes.items())
    }
    return write_tokens(folder, splits, vocab_size=vocab_size)


def _write_split(folder: Path, name: str, documents: list[np.ndarray]) -> SplitFacts:
    tokens, offsets = folder / f"{name}.bin", folder / f"{name}.offsets.bin"
    ids = np.concatenate([*documents, np.empty(0)]).astype("<u2")
    ids.tofile(tokens)
    np.cumsum([0, *(len(document) for document in documents)]).astype("<i8").tofile(offsets)
    return SplitFacts(
        tokens=len(ids),
        documents=len(documents),
        bytes=4 * len(ids),
        bytes_per_token=4.0,
        unknown_fraction=0.0,
        sha256=sha256_of(tokens),
        offsets_sha256=sha256_of(offsets),
    )


def tiny_vocabulary(*, size: int) -> Vocabulary:
    """The vocabulary of tiny_tokens: every ordinary token a word."""
    return vocabulary_of(_tokenizer(size), size=size, special_ids=SPECIAL)


def _write_tokenizer(folder: Path, *, vocab_size: int) -> None:
    special = dict(zip(ROLES, SPECIAL_TOKENS, strict=True))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=_tokenizer(vocab_size), **special)
    tokenizer.save_pretrained(folder)


def _tokenizer(size: int) -> Tokenizer:
    words = [*SPECIAL_TOKENS, *(f"w{n}" for n in range(size - NUM_SPECIAL))]
    vocabulary = {word: place for place, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer
