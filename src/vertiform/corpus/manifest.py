"""The facts about a domain's tokens that a run reads: the door between the data and the training.

manifest.json is written last, over shards that are complete; reading it verifies their hashes.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from vertiform.errors import CorpusError
from vertiform.files import read_json, sha256_of, write_json

MANIFEST_FORMAT = 1
MANIFEST_NAME = "manifest.json"
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class SpecialIds:
    """Token ids with a role of their own."""

    pad: int
    unk: int
    cls: int
    sep: int
    mask: int


@dataclass(frozen=True, slots=True)
class TokenizerFacts:
    """kind is "wordpiece" or "byte_level_bpe"; sha256 is that of tokenizer.json."""

    kind: str
    sha256: str


@dataclass(frozen=True, slots=True)
class SplitFacts:
    """One split. `tokens` counts stored ids, none of them special; `bytes` the UTF-8 of its text.

    unknown_fraction: tokens that are [UNK], of all tokens, 0-1.
    sha256, offsets_sha256: of <split>.bin and <split>.offsets.bin.
    """

    tokens: int
    documents: int
    bytes: int
    bytes_per_token: float
    unknown_fraction: float
    sha256: str
    offsets_sha256: str


@dataclass(frozen=True, slots=True)
class Contamination:
    """Documents dropped because they share `ngram_words` words with a validation or test example.

    overlap_after: documents that still share them, counted again over what was written.
    """

    examples: int
    documents_dropped: int
    ngram_words: int
    overlap_after: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """What manifest.json says. dtype is that of the ids in <split>.bin: "uint16" or "uint32"."""

    domain: str
    vocab_size: int
    dtype: str
    special_ids: SpecialIds
    tokenizer: TokenizerFacts
    languages: tuple[str, ...]
    splits: Mapping[str, SplitFacts]
    contamination: Contamination
    data_sha256: str
    format: int = MANIFEST_FORMAT


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write manifest.json; call it last, when every file it speaks of is complete."""
    facts = asdict(manifest)
    write_json(folder / MANIFEST_NAME, {"format": facts.pop("format"), **facts})


def read_manifest(folder: Path, *, domain: str | None = None) -> Manifest:
    """Read and verify the manifest of a domain's tokens.

    domain: what the caller expects; by default taken from the path data/<domain>/tokens.
    Raises CorpusError that names the stage to run if the manifest is missing, of another domain or
    format, or does not match the files beside it.
    """
    expected = domain or folder.resolve().parent.name
    rebuild = f"run `dvc repro tokenize@{expected}`, or `dvc pull` if a colleague already has."
    path = folder / MANIFEST_NAME
    if not path.is_file():
        raise CorpusError(
            f"{folder} has no manifest.json, so its vocabulary size is unknown.", fix=rebuild
        )
    facts = _read_facts(path, rebuild)
    if domain is not None and facts["domain"] != domain:
        raise CorpusError(
            f"{path} is of the domain `{facts['domain']}`, not of `{domain}`.",
            fix=f"give the tokens of `{domain}`, or {rebuild}",
        )
    manifest = _from_facts(facts, path, rebuild)
    _verify(folder, manifest, rebuild)
    return manifest


def _read_facts(path: Path, rebuild: str) -> dict[str, Any]:
    try:
        facts = read_json(path)
    except ValueError as error:
        raise CorpusError(f"{path} is not JSON: {error}.", fix=rebuild) from error
    found = facts.get("format") if isinstance(facts, dict) else None
    if found != MANIFEST_FORMAT:
        raise CorpusError(
            f"{path} has format {found}; this version of Vertiform reads {MANIFEST_FORMAT}.",
            fix=rebuild,
        )
    return facts


def _from_facts(facts: dict[str, Any], path: Path, rebuild: str) -> Manifest:
    try:
        return Manifest(
            **facts
            | {
                "special_ids": SpecialIds(**facts["special_ids"]),
                "tokenizer": TokenizerFacts(**facts["tokenizer"]),
                "languages": tuple(facts["languages"]),
                "splits": {name: SplitFacts(**split) for name, split in facts["splits"].items()},
                "contamination": Contamination(**facts["contamination"]),
            }
        )
    except (KeyError, TypeError) as error:
        raise CorpusError(
            f"{path} lacks a fact or has one too many: {error}.", fix=rebuild
        ) from error


def _verify(folder: Path, manifest: Manifest, rebuild: str) -> None:
    hashes = {"tokenizer.json": manifest.tokenizer.sha256}
    for name, split in manifest.splits.items():
        hashes |= {f"{name}.bin": split.sha256, f"{name}.offsets.bin": split.offsets_sha256}
    for name, sha256 in hashes.items():
        path = folder / name
        if not path.is_file():
            raise CorpusError(f"{path} is missing, though the manifest lists it.", fix=rebuild)
        if sha256_of(path) != sha256:
            raise CorpusError(f"{path} is not the file that the manifest describes.", fix=rebuild)
