import csv
import random
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from vertiform.corpus.dedup import MATCHES, DedupParams, dedup_corpus, find_matches
from vertiform.corpus.document import Document, read_documents, write_documents
from vertiform.corpus.shards import DocumentIndex
from vertiform.corpus.shingles import jaccard, shingles_of
from vertiform.errors import ConfigError, CorpusError
from vertiform.files import sha256_of

PARAMS = DedupParams(
    shingle_words=3, min_jaccard=0.7, min_group_jaccard=0.4, num_bands=32, rows_per_band=3
)


def deduplicated(texts: list[str], folder: Path, params: DedupParams = PARAMS) -> dict:
    write_documents(folder / "in", (Document(f"n/{i}", t, "n") for i, t in enumerate(texts)))
    return dedup_corpus(
        params, domain="d", documents=folder / "in", out=folder / "out", dropped=folder / "dropped"
    )


def kept(folder: Path) -> list[Document]:
    return list(read_documents(folder / "out"))


def sentence(*, seed: int, num_words: int = 40) -> str:
    return " ".join(f"w{random.Random(seed * 1000 + i).randrange(10**6)}" for i in range(num_words))


def with_new_words(text: str, positions: list[int]) -> str:
    words = text.split()
    for position in positions:
        words[position] = f"new{position}"
    return " ".join(words)


def test_exact_and_near_copies_go_and_say_what_they_are_copies_of(tmp_path):
    base, other = sentence(seed=1), sentence(seed=2)
    near = with_new_words(base, [0])
    report = deduplicated([base, other, base, near, f" {base}\n"], tmp_path)
    assert [d.id for d in kept(tmp_path)] == ["n/0", "n/1"]
    assert (report["dropped_exact"], report["dropped_near"]) == (2, 1)
    dropped = {d.id: d.meta for d in read_documents(tmp_path / "dropped")}
    alike = round(37 / 39, 4)  # 38 shingles each; the first differs
    assert dropped["n/3"] == {
        "duplicate_group": "n/0",
        "duplicate_of": "n/0",
        "jaccard": alike,
        "reason": "near copy of n/0",
    }
    assert dropped["n/2"]["reason"] == "exact copy of n/0"
    with (tmp_path / "dropped" / MATCHES).open() as file:
        rows = list(csv.DictReader(file))
    assert rows[1] == {"dropped": "n/3", "kept": "n/0", "how": "near", "jaccard": str(alike)}
    assert report["near_by_jaccard"] == {"0.90-0.95": 1}
    assert report["most_copied"] == [{"kept": "n/0", "copies": 3}]


def test_a_copy_of_a_dropped_copy_is_measured_against_the_one_kept(tmp_path):
    base = sentence(seed=1)
    near = with_new_words(base, [0])
    deduplicated([base, near, near], tmp_path)
    second = list(read_documents(tmp_path / "dropped"))[1]
    assert second.meta["duplicate_of"] == "n/0"
    assert second.meta["jaccard"] < 1


def test_a_text_that_is_only_like_a_dropped_copy_is_kept(tmp_path):
    base = sentence(seed=1, num_words=14)  # 12 shingles
    copy = with_new_words(base, [0, 13])  # 10 of 14 in common with the first: 0.71
    other = with_new_words(copy, [1])  # as much with the copy, but 9 of 15 with the first: 0.60
    deduplicated([base, copy, other], tmp_path)
    assert [d.id for d in kept(tmp_path)] == ["n/0", "n/2"]


def test_chinese_texts_are_compared_by_character(tmp_path):
    book = "".join(chr(0x4E00 + random.Random(i).randrange(5000)) for i in range(300))
    edited = book[:150] + "\u75db\u98ce" + book[150:]
    deduplicated([book, edited, book[::-1]], tmp_path)
    assert [d.id for d in kept(tmp_path)] == ["n/0", "n/2"]


def test_kept_documents_that_are_somewhat_alike_share_a_group(tmp_path):
    base = sentence(seed=1)
    somewhat = with_new_words(base, [5, 15, 25])  # 29 of 47 shingles in common: 0.62
    report = deduplicated([sentence(seed=2), base, somewhat], tmp_path)
    assert [d.meta["duplicate_group"] for d in kept(tmp_path)] == ["n/0", "n/1", "n/1"]
    assert (report["groups_of_two_or_more"], report["largest_group"]) == (1, 2)


def test_no_text_goes_that_is_less_alike_than_the_limit(tmp_path):
    texts = [with_new_words(sentence(seed=n % 5), list(range(0, n, 3))) for n in range(40)]
    deduplicated(texts, tmp_path)
    by_id = {d.id: d.text for d in read_documents(tmp_path / "in")}
    shingles = {i: frozenset(shingles_of(t, num_words=3)) for i, t in by_id.items()}
    dropped = list(read_documents(tmp_path / "dropped"))
    assert dropped
    for document in dropped:
        measured = jaccard(shingles[document.id], shingles[document.meta["duplicate_of"]])
        assert measured >= PARAMS.min_jaccard
        assert document.meta["jaccard"] == round(measured, 4)


def test_templated_texts_are_compared_with_a_bounded_number(tmp_path, monkeypatch):
    monkeypatch.setattr("vertiform.corpus.dedup.MOST_COMPARED", 3)
    texts = [with_new_words(sentence(seed=1), [n % 40, (n * 7) % 40]) for n in range(30)]
    report = deduplicated(texts, tmp_path)
    assert report["pairs_compared"] <= 3 * 30


# Two sentences of 14 words with up to four words replaced: copies of copies, exact, near and far.
edits = st.tuples(st.integers(0, 1), st.lists(st.integers(0, 13), max_size=4))
versions = edits.map(lambda edit: with_new_words(sentence(seed=edit[0], num_words=14), edit[1]))


@settings(max_examples=40, deadline=None)
@given(st.lists(versions, min_size=1, max_size=12))
def test_doing_it_twice_changes_nothing(tmp_path_factory, texts):
    folder = tmp_path_factory.mktemp("twice")
    deduplicated(texts, folder)
    report = dedup_corpus(
        PARAMS,
        domain="d",
        documents=folder / "out",
        out=folder / "again",
        dropped=folder / "none",
    )
    assert sha256_of(folder / "again") == sha256_of(folder / "out")
    assert report["documents_in"] == report["documents_kept"]


@settings(max_examples=40, deadline=None)
@given(st.lists(versions, min_size=1, max_size=12))
def test_every_document_is_kept_or_a_copy_of_one_that_is(tmp_path_factory, texts):
    folder = tmp_path_factory.mktemp("copies")
    report = deduplicated(texts, folder)
    kept_ids = {document.id for document in kept(folder)}
    if report["documents_kept"] < len(texts):
        dropped = list(read_documents(folder / "dropped"))
        assert {document.meta["duplicate_of"] for document in dropped} <= kept_ids
        assert len(kept_ids) + len(dropped) == len(texts)


@pytest.mark.slow
def test_the_number_of_processes_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("vertiform.corpus.dedup.CHUNK_BYTES", 2000)
    texts = [with_new_words(sentence(seed=n % 7), [n % 40]) for n in range(100)]
    write_documents(tmp_path / "in", (Document(f"n/{i}", t, "n") for i, t in enumerate(texts)))
    found = [
        find_matches(
            DocumentIndex(tmp_path / "in"), params=PARAMS, scratch=tmp_path, processes=processes
        )
        for processes in (1, 2)
    ]
    assert (found[0].kept_copy == found[1].kept_copy).all()
    assert (found[0].group == found[1].group).all()
    assert (found[0].kept_copy != range(100)).any()
    assert [path.name for path in tmp_path.iterdir()] == ["in"], "nothing is left lying about"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"min_group_jaccard": 0.9}, r"choose 0 < min_group_jaccard <= min_jaccard <= 1"),
        ({"num_bands": 0}, r"dedup.num_bands is 0"),
    ],
)
def test_limits_that_cannot_be_meant_are_named(change, message):
    given_values = {
        "shingle_words": 3,
        "min_jaccard": 0.7,
        "min_group_jaccard": 0.4,
        "num_bands": 4,
        "rows_per_band": 4,
    }
    with pytest.raises(ConfigError, match=message):
        DedupParams(**(given_values | change))


def test_a_folder_without_documents_is_named(tmp_path):
    with pytest.raises(CorpusError, match=r"holds no documents.\n.*dvc repro"):
        DocumentIndex(tmp_path)


def test_any_document_can_be_read_by_its_number_across_shards(tmp_path, monkeypatch):
    monkeypatch.setattr("vertiform.corpus.document.SHARD_BYTES", 100)
    documents = [Document(f"n/{i}", "text " * (i % 9), "n") for i in range(30)]
    write_documents(tmp_path / "in", documents)
    index = DocumentIndex(tmp_path / "in")
    assert len(list(index.lines())) == 30
    assert [index[number] for number in reversed(range(30))] == documents[::-1]
    assert list(index) == documents
    assert len(list((tmp_path / "in").iterdir())) > 1
    index.close()
