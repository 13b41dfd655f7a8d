"""What is trained on: real text where it is at hand, else the docstrings of what is installed.

Nothing is downloaded. What was made is kept in runs/benchmarks/ and used again.
"""

import ast
import json
import lzma
import random
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.measure import ROOT
from vertiform.corpus.manifest import (
    Contamination,
    Manifest,
    SpecialIds,
    SplitFacts,
    TokenizerFacts,
    write_manifest,
)
from vertiform.files import folder_written_whole, sha256_of

MADE = ROOT / "runs" / "benchmarks"
CLEAN = ROOT / "data" / "software" / "deduplicated"
OHSUMED = ROOT.parent / "shared" / "data" / "cls_ohsumed"
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
MAX_DOCUMENTS = 60_000
MIN_CHARACTERS = 80


def texts() -> tuple[list[str], str]:
    """Return the documents and their name: the demo's, else docstrings of installed packages."""
    if CLEAN.is_dir():
        files = sorted(CLEAN.glob("*.jsonl"))
        found = [json.loads(line)["text"] for file in files for line in file.open()]
        return found[:MAX_DOCUMENTS], "data/software"
    found = list(_docstrings())
    random.Random(0).shuffle(found)
    return found[:MAX_DOCUMENTS], "docstrings of installed packages"


def tokens(vocab_size: int) -> tuple[Path, str]:
    """Return a folder of tokens with a WordPiece of this size, made if absent, and its text."""
    folder = MADE / f"tokens-{vocab_size}"
    name = folder / "text.json"
    if not name.exists():
        _tokenize(folder, vocab_size)
    return folder, json.loads(name.read_text())


def classified() -> tuple[list[dict[str, str]], list[dict[str, str]], str]:
    """Return training and test rows {text, label}: Ohsumed, else docstrings by package."""
    if OHSUMED.is_dir():
        splits = [
            [
                json.loads(line)
                for line in lzma.decompress(
                    (OHSUMED / f"{split}.jsonl.xz").read_bytes()
                ).splitlines()
            ]
            for split in ("train", "test")
        ]
        for split in splits:
            random.Random(0).shuffle(split)
        return splits[0], splits[1], "cls_ohsumed"
    rows = [{"text": text, "label": label} for label, text in _by_package()]
    random.Random(0).shuffle(rows)
    cut = len(rows) // 3
    return rows[cut:], rows[:cut], "docstrings by package"


def _tokenize(folder: Path, vocab_size: int) -> None:
    from tokenizers import BertWordPieceTokenizer

    documents, name = texts()
    tokenizer = BertWordPieceTokenizer(lowercase=True)
    tokenizer.train_from_iterator(
        documents, vocab_size=vocab_size, special_tokens=list(SPECIAL), show_progress=False
    )
    size = tokenizer.get_vocab_size()
    if size > vocab_size:
        raise SystemExit(f"The tokenizer came out with {size} tokens, not {vocab_size}.")
    cut = len(documents) // 50
    splits = {
        "validation": documents[:cut],
        "test": documents[cut : 2 * cut],
        "train": documents[2 * cut :],
    }
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder_written_whole(folder) as aside:
        tokenizer.save(str(aside / "tokenizer.json"))
        named = {f"{t[1:-1].lower()}_token": t for t in SPECIAL}
        settings = {"tokenizer_class": "PreTrainedTokenizerFast", **named}
        (aside / "tokenizer_config.json").write_text(json.dumps(settings))
        facts = {split: _write(aside, split, part, tokenizer) for split, part in splits.items()}
        write_manifest(
            aside,
            Manifest(
                domain="benchmarks",
                vocab_size=vocab_size,
                dtype="uint16",
                special_ids=SpecialIds(pad=0, unk=1, cls=2, sep=3, mask=4),
                tokenizer=TokenizerFacts(
                    kind="wordpiece", sha256=sha256_of(aside / "tokenizer.json")
                ),
                languages=("en",),
                splits=facts,
                contamination=Contamination(
                    examples=0, documents_dropped=0, ngram_words=13, overlap_after=0
                ),
                data_sha256=facts["train"].sha256,
            ),
        )
        (aside / "text.json").write_text(json.dumps(name))


def _write(folder: Path, split: str, documents: list[str], tokenizer: object) -> SplitFacts:
    encoded = tokenizer.encode_batch(documents, add_special_tokens=False)  # type: ignore[attr-defined]
    ids = [np.array(each.ids, dtype="<u2") for each in encoded]
    offsets = np.concatenate(([0], np.cumsum([len(each) for each in ids]))).astype("<i8")
    np.concatenate(ids).tofile(folder / f"{split}.bin")
    offsets.tofile(folder / f"{split}.offsets.bin")
    num_bytes = sum(len(text.encode()) for text in documents)
    return SplitFacts(
        tokens=int(offsets[-1]),
        documents=len(documents),
        bytes=num_bytes,
        bytes_per_token=num_bytes / int(offsets[-1]),
        unknown_fraction=0.0,
        sha256=sha256_of(folder / f"{split}.bin"),
        offsets_sha256=sha256_of(folder / f"{split}.offsets.bin"),
    )


def _docstrings() -> Iterator[str]:
    for _, text in _by_package(packages=None):
        yield text


def _by_package(
    packages: tuple[str, ...] | None = ("torch", "numpy", "transformers", "email", "asyncio"),
) -> Iterator[tuple[str, str]]:
    paths = sysconfig.get_paths()
    for root in (Path(paths["purelib"]), Path(paths["stdlib"])):
        for folder in sorted(child for child in root.iterdir() if child.is_dir()):
            if packages is not None and folder.name not in packages:
                continue
            if folder.name in ("site-packages", "test"):
                continue
            for file in sorted(folder.rglob("*.py")):
                for text in _docstrings_of(file):
                    yield folder.name, text


def _docstrings_of(file: Path) -> Iterator[str]:
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError, OSError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text and len(text) >= MIN_CHARACTERS:
                yield text
