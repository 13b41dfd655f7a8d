from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from vertiform.corpus.clean import CleanParams, clean_corpus, clean_document, clean_documents
from vertiform.corpus.document import Document, read_documents, write_documents
from vertiform.corpus.rules import Repetition
from vertiform.errors import ConfigError, CorpusError
from vertiform.files import sha256_of

PARAMS = CleanParams(
    prose_sources=("python_docs",),
    strips_html=True,
    min_words=5,
    max_words=200,
    max_symbol_fraction=0.25,
    max_digit_fraction=0.2,
    repetition=Repetition(
        max_duplicate_line_fraction=0.30,
        max_duplicate_line_character_fraction=0.20,
        max_duplicate_paragraph_fraction=0.30,
        max_duplicate_paragraph_character_fraction=0.20,
        max_top_ngram_fraction=(0.20, 0.18, 0.16),
        max_duplicate_ngram_fraction=(0.15, 0.14, 0.13, 0.12, 0.11, 0.10),
    ),
    languages=("en",),
    short_characters=200,
    short_confidence=0.95,
)
GOOD = "Gout is a painful disease of the joints that comes at night."
LINE = "The same line stands here again and says nothing new.\n"
GERMAN = (
    "Die Gicht ist eine schmerzhafte Erkrankung der Gelenke. Sie entsteht durch Kristalle, die "
    "sich bei zu viel Harnstoff im Blut ablagern, meistens zuerst am Grundgelenk der Zehe. Wer "
    "daran leidet, soll viel Wasser trinken und wenig Fleisch essen."
)


def document(text: str, *, source: str = "notes") -> Document:
    return Document(f"{source}/{hash(text)}", text, source, {"licence": "MIT"})


def cleaned(texts: Iterable[str], folder: Path, params: CleanParams = PARAMS) -> dict:
    write_documents(folder / "in", (Document(f"n/{i}", t, "n") for i, t in enumerate(texts)))
    return clean_corpus(
        params,
        domain="d",
        documents=folder / "in",
        out=folder / "out",
        dropped=folder / "dropped",
    )


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("Too short.", "min_words"),
        (" ".join(f"word{i}" for i in range(300)), "max_words"),
        ("a + b = c / (d - e) * { [ f ] } ; <-> g !!! ??? ### @@@", "max_symbol_fraction"),
        ("Call 555 0100 or 555 0199 on 12 05 2026 at 10 30", "max_digit_fraction"),
        (LINE * 4, "repeated_lines"),
        ("No end of pain in the night, " * 12, "repeated_ngrams"),
        (GERMAN, "languages"),
    ],
)
def test_each_rule_drops_what_it_is_for(text, rule):
    assert clean_document(document(text), params=PARAMS).dropped_by == rule


def test_a_good_text_passes_unchanged():
    result = clean_document(document(GOOD), params=PARAMS)
    assert (result.document.text, result.repaired_by, result.dropped_by) == (GOOD, (), None)


def test_repairs_are_named_in_their_order():
    result = clean_document(document(f"<p>{GOOD}\x00  \n caf\u00c3\u00a9</p>"), params=PARAMS)
    assert result.document.text == f"{GOOD}\n caf\u00e9"
    assert result.repaired_by == ("unicode", "control_characters", "html", "whitespace")


def test_markup_becomes_prose_only_where_params_say_so():
    text = "Return a :class:`Session` that is bound to the engine of the *application*."
    docs = clean_document(document(text, source="python_docs"), params=PARAMS)
    assert docs.document.text == "Return a Session that is bound to the engine of the application."
    assert clean_document(document(text), params=PARAMS).document.text == text


def test_the_report_counts_every_rule_in_order_and_the_dropped_are_kept_as_they_came(tmp_path):
    report = cleaned([GOOD, "Too short.", "Also\x00short.", GERMAN], tmp_path)
    assert report["documents_kept"] == 1
    assert {r["rule"]: r.get("dropped", r.get("repaired")) for r in report["rules"]} == {
        "unicode": 0,
        "control_characters": 1,
        "prose": 0,
        "html": 0,
        "whitespace": 0,
        "min_words": 2,
        "max_words": 0,
        "max_symbol_fraction": 0,
        "max_digit_fraction": 0,
        "repeated_lines": 0,
        "repeated_ngrams": 0,
        "languages": 1,
    }
    dropped = list(read_documents(tmp_path / "dropped"))
    assert [(d.text, d.meta["reason"]) for d in dropped] == [
        ("Too short.", "min_words: 2 words"),
        ("Also\x00short.", "min_words: 1 words"),
        (GERMAN, "languages: language de"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "Too short.",
            r"kept 0 of 1 documents; 1 were dropped by min_words \(5\).*\n.*d.clean.min",
        ),
        (LINE * 4, r"dropped by repeated_lines\.\n.*domains.d.clean.repetition"),
    ],
)
def test_a_corpus_that_no_text_survives_names_the_rule_to_loosen(tmp_path, text, message):
    with pytest.raises(CorpusError, match=message):
        cleaned([text], tmp_path)
    assert not (tmp_path / "out").exists()
    assert len(list(read_documents(tmp_path / "dropped"))) == 1, "kept for a look"


def test_an_unknown_language_is_refused_before_any_work(tmp_path):
    with pytest.raises(ConfigError, match="`english` is no language"):
        cleaned([GOOD], tmp_path, replace(PARAMS, languages=("english",)))


def test_no_languages_keeps_all(tmp_path):
    report = cleaned([GERMAN], tmp_path, replace(PARAMS, languages=()))
    assert report["documents_kept"] == 1
    assert "languages" not in [rule["rule"] for rule in report["rules"]]


def test_cleaning_again_writes_the_same_bytes(tmp_path):
    texts = [f"{GOOD} It came back in the year {n}." for n in range(50)]
    hashes = []
    for name in "ab":
        cleaned(texts, tmp_path / name)
        hashes.append(sha256_of(tmp_path / name / "out"))
    assert hashes[0] == hashes[1]


@pytest.mark.slow
def test_the_number_of_processes_changes_nothing(monkeypatch):
    monkeypatch.setattr("vertiform.corpus.clean.CHUNK_CHARACTERS", 500)
    documents = [document(f"{GOOD} Case {n} of {n * n}.") for n in range(100)]
    alone = list(clean_documents(documents, params=PARAMS, processes=1))
    assert list(clean_documents(documents, params=PARAMS, processes=2)) == alone
