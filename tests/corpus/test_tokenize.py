"""The stage tokenize: no held-out text among the tokens, every token once, facts that are true."""

import random
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from tokenizers import Tokenizer

from vertiform.corpus.decontaminate import words_of
from vertiform.corpus.document import Document, read_documents, write_documents
from vertiform.corpus.examples import LabelledTask, write_task
from vertiform.corpus.manifest import SPLITS, read_manifest
from vertiform.corpus.tokenize import (
    DecontaminateParams,
    TokenizeParams,
    split_of,
    tokenize_corpus,
)
from vertiform.corpus.tokenizer import TokenizerParams
from vertiform.errors import ConfigError, CorpusError
from vertiform.files import read_json, sha256_of

PARAMS = TokenizeParams(
    languages=("en",),
    decontaminate=DecontaminateParams(ngram_words=13, min_example_words=5),
    tokenizer=TokenizerParams("wordpiece", 120, True, 100),
    validation_fraction=0.2,
    test_fraction=0.2,
)
SYLLABLES = ("ba", "ke", "li", "mo", "nu", "ra", "se", "ti", "vo", "zu")


def docs(number=60):
    """Documents of thirty made-up words; two and two are near-duplicates of each other."""
    chooser = random.Random(0)
    documents = []
    for n in range(number):
        words = ["".join(chooser.choices(SYLLABLES, k=chooser.randint(1, 4))) for _ in range(30)]
        meta = {"duplicate_group": f"g{n // 2}"}
        documents.append(Document(f"d{n}", " ".join(words), "made_up", meta))
    return documents


def held_out(folder, texts):
    rows = [{"id": str(n), "text": text, "label": "ab"[n % 2], "group": "x"} for n, text in texts]
    train = [{"id": "t", "text": "only in train", "label": "a", "group": "y"}]
    task = LabelledTask(
        "mine", "classification", "en", "", {"train": train, "validation": rows, "test": rows}
    )
    write_task(folder / "tasks" / "mine", task)


def tokenize(folder, params=PARAMS, *, documents=None, texts=((0, "nothing of the kind here"),)):
    write_documents(folder / "documents", documents or docs())
    if not (folder / "tasks").exists():
        held_out(folder, texts)
    return tokenize_corpus(
        params,
        domain="legal",
        documents=folder / "documents",
        tasks=folder / "tasks",
        out=folder / "legal" / "tokens",
    )


def stored(folder, split):
    """The documents of a split, as lists of ids, read as a run reads them."""
    tokens = folder / "legal" / "tokens"
    ids = np.memmap(tokens / f"{split}.bin", dtype="<u2", mode="r")
    offsets = np.memmap(tokens / f"{split}.offsets.bin", dtype="<i8", mode="r")
    return [ids[a:b].tolist() for a, b in pairwise(offsets)]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenize")
    return folder, tokenize(folder)


def test_every_document_is_stored_once_and_reads_as_it_was(made):
    folder, _ = made
    tokenizer = Tokenizer.from_file(str(folder / "legal" / "tokens" / "tokenizer.json"))
    texts = [tokenizer.decode(ids) for split in SPLITS for ids in stored(folder, split)]
    assert sorted(texts) == sorted(document.text for document in docs())


def test_no_special_token_is_stored(made):
    ids = {i for split in SPLITS for ids in stored(made[0], split) for i in ids}
    assert ids.isdisjoint(range(5))


def test_the_manifest_counts_what_is_stored(made):
    folder, report = made
    manifest = read_manifest(folder / "legal" / "tokens", domain="legal")
    assert (manifest.vocab_size, manifest.dtype, manifest.languages) == (120, "uint16", ("en",))
    for split, facts in manifest.splits.items():
        documents = stored(folder, split)
        assert facts.documents == len(documents) > 0
        assert facts.tokens == sum(map(len, documents))
        assert facts.bytes_per_token == pytest.approx(facts.bytes / facts.tokens, abs=1e-4)
        assert facts.unknown_fraction == 0
        assert report["splits"][split]["tokens"] == facts.tokens


def test_the_same_documents_give_the_same_bytes(made, tmp_path):
    tokenize(tmp_path)
    assert sha256_of(tmp_path / "legal" / "tokens") == sha256_of(made[0] / "legal" / "tokens")


def test_near_duplicates_are_in_one_split():
    splits = {}
    for document in docs(200):
        split = split_of(document, validation_fraction=0.2, test_fraction=0.3)
        assert splits.setdefault(document.meta["duplicate_group"], split) == split
    counts = [list(splits.values()).count(split) for split in SPLITS]
    assert min(counts) >= 10  # of 100 groups; train is half of them, whatever the hash
    assert counts[0] > counts[2]


def test_a_document_without_a_group_is_its_own():
    document = Document("d1", "text", "made_up")
    alone = replace(document, meta={"duplicate_group": "d1"})
    fractions = {"validation_fraction": 0.3, "test_fraction": 0.3}
    assert split_of(document, **fractions) == split_of(alone, **fractions)


def test_documents_that_share_text_with_an_example_are_dropped_counted_and_shown(tmp_path):
    documents = docs()
    quoted = " ".join(documents[7].text.upper().split()[10:25])
    short = " ".join(documents[9].text.split()[:6])
    report = tokenize(tmp_path, texts=[(0, f"Quote: {quoted}!"), (1, short), (2, "too short")])
    kept = read_manifest(tmp_path / "legal" / "tokens")
    assert sum(split.documents for split in kept.splits.values()) == 58
    assert kept.contamination.documents_dropped == 2
    assert kept.contamination.overlap_after == 0
    assert report["contamination"]["examples"] == 6
    assert report["contamination"]["examples_too_short_to_look_for"] == 2
    assert report["contamination"]["documents_dropped_by_task"] == {"mine": 2}
    first = report["contamination"]["shown"][0]
    assert (first["document"], first["example"]) == ("d7", "mine/validation/0")
    assert first["words"] in " ".join(words_of(quoted))


def test_held_out_documents_have_no_say_in_the_vocabulary(tmp_path):
    documents = docs()
    fractions = {"validation_fraction": 0.2, "test_fraction": 0.2}
    marked = [
        document
        if split_of(document, **fractions) == "train"
        else replace(document, text=document.text + " \u4e00")
        for document in documents
    ]
    tokenize(tmp_path, documents=marked)
    facts = read_manifest(tmp_path / "legal" / "tokens").splits
    assert facts["train"].unknown_fraction == 0
    assert facts["test"].unknown_fraction > 0


@pytest.mark.slow
def test_many_tokens_are_stored_in_four_bytes(tmp_path):
    chooser = random.Random(1)
    cjk = [chr(0x4E00 + n) for n in range(20_000)] + [chr(0x3400 + n) for n in range(6_500)]
    hangul = [chr(0xAC00 + n) for n in range(11_000)]
    words = cjk + [a + b for a, b in zip(hangul, hangul[::-1], strict=True)]
    words += ["".join(chooser.sample("abcdefghij", k=4)) for _ in range(20_000)]
    documents = [Document(f"d{n}", " ".join(words), "made_up") for n in range(12)]
    tokenizer = TokenizerParams("wordpiece", 65_560, True, 70_000)
    tokenize(tmp_path, replace(PARAMS, tokenizer=tokenizer), documents=documents)
    manifest = read_manifest(tmp_path / "legal" / "tokens")
    assert manifest.dtype == "uint32"
    size = (tmp_path / "legal" / "tokens" / "train.bin").stat().st_size
    assert size == 4 * manifest.splits["train"].tokens


def test_a_corpus_that_is_all_held_out_is_refused(tmp_path):
    texts = list(enumerate(document.text for document in docs()))
    with pytest.raises(CorpusError, match=r"no documents left: all 60 share text"):
        tokenize(tmp_path, texts=texts)


def test_a_vocabulary_larger_than_the_text_allows_leaves_nothing_half_written(tmp_path):
    params = replace(PARAMS, tokenizer=replace(PARAMS.tokenizer, vocab_size=60_000))
    with pytest.raises(CorpusError, match=r"vocabulary of [\d,]+ tokens, not the 60,000"):
        tokenize(tmp_path, params)
    assert not (tmp_path / "legal" / "tokens").exists()


def test_a_split_that_stays_empty_is_named(tmp_path):
    with pytest.raises(CorpusError, match=r"No document of `legal` fell into the validation split"):
        tokenize(tmp_path, replace(PARAMS, validation_fraction=0.001))


@pytest.mark.parametrize("fraction", [0.0, 0.5, -0.1])
def test_a_fraction_out_of_range_is_refused(tmp_path, fraction):
    with pytest.raises(ConfigError, match=r"domains\.legal\.tokenize\.test_fraction is"):
        tokenize(tmp_path, replace(PARAMS, test_fraction=fraction))


def test_a_domain_without_tasks_is_tokenized(tmp_path):
    (tmp_path / "tasks").mkdir()
    assert tokenize(tmp_path)["contamination"]["examples"] == 0


def test_missing_documents_name_the_command_that_makes_them(tmp_path):
    with pytest.raises(CorpusError, match=r"holds no documents") as error:
        tokenize_corpus(
            PARAMS, domain="legal", documents=tmp_path, tasks=tmp_path, out=tmp_path / "out"
        )
    assert "dvc repro" in error.value.fix


def test_the_report_is_plain_json_and_names_no_path(made, tmp_path):
    report = made[1]
    from vertiform.files import write_json

    write_json(tmp_path / "report.json", report)
    assert read_json(tmp_path / "report.json") == report
    assert str(made[0]) not in str(report)
    assert len(list(read_documents(made[0] / "documents"))) == 60
