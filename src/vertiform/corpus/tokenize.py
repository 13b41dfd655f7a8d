"""The stage tokenize: held-out text out, a tokenizer made, tokens in memory-mapped shards.

A split is two files: <split>.bin, the ids of all its documents on end (little-endian uint16, or
uint32 from 65,536 tokens on), and <split>.offsets.bin, where each document starts and the last one
ends (int64, documents + 1 of them). No special tokens are stored. manifest.json comes last.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
from tokenizers import Tokenizer

from vertiform.corpus.checkpoint_tokenizer import tokenizer_of_checkpoint
from vertiform.corpus.decontaminate import HeldOut, Shared
from vertiform.corpus.document import Document, read_documents
from vertiform.corpus.examples import held_out_texts
from vertiform.corpus.manifest import (
    SPLITS,
    Contamination,
    Manifest,
    SplitFacts,
    TokenizerFacts,
    write_manifest,
)
from vertiform.corpus.tokenizer import (
    CHECKPOINT,
    SPECIAL_TOKENS,
    DomainTokenizer,
    TokenizerParams,
    train_tokenizer,
    write_tokenizer,
)
from vertiform.errors import ConfigError, CorpusError
from vertiform.files import folder_written_whole, sha256_of
from vertiform.progress import progress

T = TypeVar("T")

UINT16_TOKENS = 1 << 16
DOCUMENTS_AT_ONCE = 2048  # handed to the tokenizer's threads together; their order is kept
SHOWN_OVERLAPS = 20  # examples of dropped documents in the report
SHOWN_TOKENS = 20  # new tokens in the report, the first picked


@dataclass(frozen=True)
class DecontaminateParams:
    """domains.<domain>.tokenize.decontaminate of params.yaml."""

    ngram_words: int  # a document that shares so many words in a row is dropped
    min_example_words: int  # shorter examples are not looked for: they recur by chance


@dataclass(frozen=True)
class TokenizeParams:
    """domains.<domain>.tokenize of params.yaml."""

    languages: tuple[str, ...]  # ISO 639-1, for whoever uses the tokens
    decontaminate: DecontaminateParams
    tokenizer: TokenizerParams
    validation_fraction: float  # of the duplicate groups, 0-1
    test_fraction: float


def tokenize_corpus(
    params: TokenizeParams, *, domain: str, documents: Path, tasks: Path, out: Path
) -> dict[str, Any]:
    """Write the tokens of a domain and their manifest to `out`; return the report."""
    _check_fractions(params, domain)
    held_out = _held_out(params, tasks)
    overlaps = list(held_out.find(_texts(documents, "comparing with the tasks")))
    dropped = {overlap.text_number for overlap in overlaps}
    corpus = _Corpus(params, documents, dropped, domain)
    made = _make_tokenizer(params.tokenizer, corpus, domain)
    with folder_written_whole(out) as aside:
        write_tokenizer(aside, made.tokenizer, made.special_tokens)
        splits = _write_splits(aside, made, corpus)
        _check_filled(splits, domain)
        manifest = Manifest(
            domain=domain,
            vocab_size=made.vocab_size,
            dtype=_dtype(made).name,
            special_ids=made.special_ids,
            tokenizer=TokenizerFacts(made.kind, sha256_of(aside / "tokenizer.json")),
            languages=params.languages,
            splits=splits,
            contamination=Contamination(
                examples=held_out.num_examples,
                documents_dropped=len(dropped),
                ngram_words=params.decontaminate.ngram_words,
                overlap_after=sum(1 for _ in held_out.find(d.text for d in corpus.kept())),
            ),
            data_sha256=_data_sha256(aside),
        )
        write_manifest(aside, manifest)
    report = _report(manifest, held_out, overlaps, documents)
    report["special_tokens"] = dict(made.special_tokens)
    if made.extended_from is not None:
        report["extension"] = _extension(made, made.extended_from, manifest, corpus)
    return report


def split_of(document: Document, *, validation_fraction: float, test_fraction: float) -> str:
    """By hash of the duplicate group: near-copies stay on one side, and a new crawl does not move
    old documents from one split to another.
    """
    group = str(document.meta.get("duplicate_group") or document.id)
    digest = hashlib.blake2b(group.encode(), digest_size=8).digest()
    share = int.from_bytes(digest, "big") / 2**64
    if share < validation_fraction:
        return "validation"
    return "test" if share < validation_fraction + test_fraction else "train"


class _Corpus:
    """The documents that are left, read from disk each time: they need not fit into memory."""

    def __init__(
        self, params: TokenizeParams, documents: Path, dropped: set[int], domain: str
    ) -> None:
        self._params, self._documents, self._dropped = params, documents, dropped
        if next(self.kept(), None) is None:
            raise CorpusError(
                f"tokenize@{domain} has no documents left: all {len(dropped):,} share text with "
                "validation or test examples.",
                fix="collect other text, or raise "
                f"domains.{domain}.tokenize.decontaminate.ngram_words in params.yaml.",
            )

    def kept(self) -> Iterator[Document]:
        for number, document in enumerate(read_documents(self._documents)):
            if number not in self._dropped:
                yield document

    def split_of(self, document: Document) -> str:
        return split_of(
            document,
            validation_fraction=self._params.validation_fraction,
            test_fraction=self._params.test_fraction,
        )

    def train_texts(self) -> Iterator[str]:
        """What the tokenizer learns from: held-out text has no say in the vocabulary."""
        kept = (document for document in self.kept() if self.split_of(document) == "train")
        for document in progress(kept, what="training the tokenizer", unit="docs"):
            yield document.text

    def validation_texts(self) -> Iterator[str]:
        return (d.text for d in self.kept() if self.split_of(d) == "validation")


class _Shard:
    """One split being written; hashes and counts grow with it."""

    def __init__(self, folder: Path, split: str, dtype: np.dtype, unknown_id: int) -> None:
        self._paths = [folder / f"{split}.bin", folder / f"{split}.offsets.bin"]
        self._tokens: IO[bytes] = self._paths[0].open("wb")
        self._dtype, self._unknown_id = dtype, unknown_id
        self._offsets = [0]
        self._bytes = self._unknown = 0

    def add(self, ids: list[int], text: str) -> None:
        array = np.array(ids, dtype=self._dtype)
        self._tokens.write(array.tobytes())
        self._offsets.append(self._offsets[-1] + len(array))
        self._bytes += len(text.encode())
        self._unknown += int((array == self._unknown_id).sum())

    def close(self) -> SplitFacts:
        self._tokens.close()
        self._paths[1].write_bytes(np.array(self._offsets, dtype="<i8").tobytes())
        tokens = self._offsets[-1]
        return SplitFacts(
            tokens=tokens,
            documents=len(self._offsets) - 1,
            bytes=self._bytes,
            bytes_per_token=round(self._bytes / max(tokens, 1), 4),
            unknown_fraction=round(self._unknown / max(tokens, 1), 8),
            sha256=sha256_of(self._paths[0]),
            offsets_sha256=sha256_of(self._paths[1]),
        )


def _make_tokenizer(params: TokenizerParams, corpus: _Corpus, domain: str) -> DomainTokenizer:
    if params.kind == CHECKPOINT:
        return tokenizer_of_checkpoint(corpus.train_texts, params, domain=domain)
    trained = train_tokenizer(corpus.train_texts, params, domain=domain)
    return DomainTokenizer(trained, params.kind, SPECIAL_TOKENS)


def _write_splits(folder: Path, made: DomainTokenizer, corpus: _Corpus) -> dict[str, SplitFacts]:
    # Threads, not processes: encode_batch keeps the order whatever their number.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    dtype, unknown_id = _dtype(made), made.special_ids.unk
    shards = {split: _Shard(folder, split, dtype, unknown_id) for split in SPLITS}
    documents = progress(corpus.kept(), what="writing tokens", unit="docs")
    for batch in _batches(documents):
        texts = [document.text for document in batch]
        encoded = made.tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        for document, encoding in zip(batch, encoded, strict=True):
            if encoding.ids:
                shards[corpus.split_of(document)].add(encoding.ids, document.text)
    return {split: shard.close() for split, shard in shards.items()}


def _batches(documents: Iterable[T]) -> Iterator[list[T]]:
    iterator = iter(documents)
    while batch := list(islice(iterator, DOCUMENTS_AT_ONCE)):
        yield batch


def _dtype(made: DomainTokenizer) -> np.dtype:
    return np.dtype("<u2" if made.vocab_size < UINT16_TOKENS else "<u4")


def _held_out(params: TokenizeParams, tasks: Path) -> HeldOut:
    return HeldOut(
        held_out_texts(tasks),
        ngram_words=params.decontaminate.ngram_words,
        min_example_words=params.decontaminate.min_example_words,
    )


def _texts(documents: Path, what: str) -> Iterator[str]:
    for document in progress(read_documents(documents), what=what, unit="docs"):
        yield document.text


def _data_sha256(folder: Path) -> str:
    """Of everything that a run reads but the manifest itself."""
    names = ["tokenizer.json", *(f"{s}{end}" for s in SPLITS for end in (".bin", ".offsets.bin"))]
    return hashlib.sha256("".join(sha256_of(folder / name) for name in names).encode()).hexdigest()


def _check_fractions(params: TokenizeParams, domain: str) -> None:
    for name in ("validation_fraction", "test_fraction"):
        if not 0 < getattr(params, name) < 0.5:
            raise ConfigError(
                f"domains.{domain}.tokenize.{name} is {getattr(params, name):g}.",
                fix="write a fraction over 0 and below 0.5, such as 0.02.",
            )


def _check_filled(splits: dict[str, SplitFacts], domain: str) -> None:
    for split, facts in splits.items():
        if not facts.documents:
            raise CorpusError(
                f"No document of `{domain}` fell into the {split} split.",
                fix=f"collect more text, or raise domains.{domain}.tokenize.{split}_fraction in "
                "params.yaml.",
            )


def _report(
    manifest: Manifest, held_out: HeldOut, overlaps: list[Shared], documents: Path
) -> dict[str, Any]:
    shown = {overlap.text_number: overlap for overlap in overlaps[:SHOWN_OVERLAPS]}
    ids = {n: d.id for n, d in enumerate(read_documents(documents)) if n in shown}
    train = manifest.splits["train"]
    by_task = Counter(overlap.example_id.partition("/")[0] for overlap in overlaps)
    return {
        "summary": f"{train.tokens:,} train tokens from {train.documents:,} documents, "
        f"{train.bytes_per_token:.2f} bytes a token, {train.unknown_fraction:.2%} unknown; "
        f"{len(overlaps):,} documents left out that share text with the tasks",
        "vocab_size": manifest.vocab_size,
        "splits": {
            split: {
                "tokens": facts.tokens,
                "documents": facts.documents,
                "bytes_per_token": facts.bytes_per_token,
                "unknown_fraction": facts.unknown_fraction,
            }
            for split, facts in manifest.splits.items()
        },
        "contamination": {
            "examples": held_out.num_examples,
            "examples_too_short_to_look_for": held_out.num_too_short,
            "documents_dropped": manifest.contamination.documents_dropped,
            "documents_dropped_by_task": dict(sorted(by_task.items())),
            "overlap_after": manifest.contamination.overlap_after,
            "shown": [
                {"document": ids[number], "example": found.example_id, "words": found.words}
                for number, found in sorted(shown.items())
            ],
        },
    }


def _extension(
    made: DomainTokenizer, before: Tokenizer, manifest: Manifest, corpus: _Corpus
) -> dict[str, Any]:
    """What the new tokens came to on text that had no say in them, the validation split."""
    unknown_id = made.special_ids.unk
    tokens = unknown = 0
    for texts in _batches(corpus.validation_texts()):
        for encoding in before.encode_batch_fast(texts, add_special_tokens=False):
            tokens += len(encoding.ids)
            unknown += encoding.ids.count(unknown_id)
    after = manifest.splits["validation"]
    first = 1 + max(before.get_vocab(with_added_tokens=True).values())
    shown = range(first, min(first + SHOWN_TOKENS, made.vocab_size))
    return {
        "new_tokens": made.vocab_size - first,
        "validation": {
            "bytes_per_token_before": round(after.bytes / max(tokens, 1), 4),
            "bytes_per_token_after": after.bytes_per_token,
            "unknown_tokens_before": unknown,
            "unknown_tokens_after": round(after.unknown_fraction * after.tokens),
        },
        "shown": [made.tokenizer.id_to_token(number) for number in shown],
    }
