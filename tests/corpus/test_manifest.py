"""The manifest is believed only when every file that it speaks of is the one it describes."""

import json

import numpy as np
import pytest

from tests.builders import write_tokens
from vertiform.corpus.manifest import MANIFEST_NAME, read_manifest
from vertiform.errors import CorpusError


@pytest.fixture
def tokens(tmp_path):
    folder = tmp_path / "biomed" / "tokens"
    documents = [np.arange(5, 9), np.arange(6, 8)]
    splits = {"train": documents, "validation": documents[:1], "test": documents[1:]}
    write_tokens(folder, splits, vocab_size=50)
    return folder


def edit(folder, **facts):
    path = folder / MANIFEST_NAME
    path.write_text(json.dumps(json.loads(path.read_text()) | facts))


def test_what_was_written_is_read(tokens):
    manifest = read_manifest(tokens)
    assert manifest.vocab_size == 50
    assert manifest.splits["train"].tokens == 6
    assert manifest.special_ids.mask == 4


def test_a_corpus_without_manifest_says_which_stage_to_run(tmp_path):
    with pytest.raises(CorpusError, match=r"dvc repro tokenize@biomed"):
        read_manifest(tmp_path, domain="biomed")


def test_the_domain_of_the_fix_is_taken_from_the_path(tmp_path):
    with pytest.raises(CorpusError, match=r"dvc repro tokenize@legal"):
        read_manifest(tmp_path / "legal" / "tokens")


def test_tokens_of_another_domain_are_refused(tokens):
    edit(tokens, domain="biomed")
    with pytest.raises(CorpusError, match=r"of the domain `biomed`, not of `legal`"):
        read_manifest(tokens, domain="legal")


def test_another_format_is_refused(tokens):
    edit(tokens, format=2)
    with pytest.raises(CorpusError, match=r"format 2; this version of Vertiform reads 1"):
        read_manifest(tokens)


def test_a_fact_too_many_is_named(tokens):
    edit(tokens, colour="blue")
    with pytest.raises(CorpusError, match=r"one too many.*colour"):
        read_manifest(tokens)


def test_a_manifest_that_was_cut_off_is_refused(tokens):
    path = tokens / MANIFEST_NAME
    path.write_text(path.read_text()[:40])
    with pytest.raises(CorpusError, match=r"is not JSON"):
        read_manifest(tokens)


@pytest.mark.parametrize("name", ["train.bin", "test.offsets.bin", "tokenizer.json"])
def test_a_missing_file_is_named(tokens, name):
    (tokens / name).unlink()
    with pytest.raises(CorpusError, match=rf"{name} is missing"):
        read_manifest(tokens)


@pytest.mark.parametrize("name", ["train.bin", "validation.offsets.bin", "tokenizer.json"])
def test_a_changed_byte_is_noticed(tokens, name):
    (tokens / name).write_bytes((tokens / name).read_bytes()[:-1] + b"\x07")
    with pytest.raises(CorpusError, match=rf"{name} is not the file"):
        read_manifest(tokens)
