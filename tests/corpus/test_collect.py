import json
from pathlib import Path

import pytest

from vertiform.corpus.collect import CollectParams, collect_corpus
from vertiform.corpus.document import read_documents
from vertiform.corpus.sources.files import FilesSource
from vertiform.corpus.sources.hub import HubSource
from vertiform.errors import ConfigError, CorpusError, VertiformError
from vertiform.files import sha256_of
from vertiform.params import read_stage_params

NOTES = FilesSource(name="notes", glob="*.txt", licence="MIT", one_document_per="line")
LETTERS = FilesSource(name="letters", glob="*.jsonl", licence="CC0-1.0", id="key")


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    folder.mkdir()
    (folder / "a.txt").write_text("One.\nTwo.\n")
    (folder / "b.jsonl").write_text('{"key": "x", "text": "Three."}\n')
    return folder


def test_documents_of_every_source_come_in_the_order_named(raw, tmp_path):
    params = CollectParams(files=(NOTES, LETTERS))
    report = collect_corpus(params, domain="d", input=raw, out=tmp_path / "out")
    documents = list(read_documents(tmp_path / "out"))
    assert [(d.source, d.text) for d in documents] == [
        ("notes", "One."),
        ("notes", "Two."),
        ("letters", "Three."),
    ]
    assert report["documents"] == 3
    assert report["documents_by_licence"] == {"CC0-1.0": 1, "MIT": 2}
    assert [source["rows"] for source in report["sources"]] == [2, 1]
    assert str(tmp_path) not in json.dumps(report)


def test_collecting_again_writes_the_same_bytes(raw, tmp_path):
    params = CollectParams(files=(NOTES, LETTERS))
    reports = [collect_corpus(params, domain="d", input=raw, out=tmp_path / o) for o in "ab"]
    assert sha256_of(tmp_path / "a") == sha256_of(tmp_path / "b")
    assert reports[0] == reports[1]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (CollectParams(), r"domains.d.collect in params.yaml names no source"),
        (CollectParams(files=(NOTES, NOTES)), r"two sources named `notes`"),
        (
            CollectParams(files=(NOTES,), hub=(HubSource("notes", "x", "train", "MIT"),)),
            r"two sources named `notes`",
        ),
    ],
)
def test_sources_that_cannot_be_told_apart_are_named(raw, tmp_path, params, message):
    with pytest.raises(ConfigError, match=message):
        collect_corpus(params, domain="d", input=raw, out=tmp_path / "out")


def test_an_id_that_occurs_twice_is_named_and_nothing_is_left(raw, tmp_path):
    with (raw / "b.jsonl").open("a") as file:
        file.write('{"key": "x", "text": "Four."}\n')
    with pytest.raises(CorpusError, match=r"id letters/x occurs twice in the source `letters`"):
        collect_corpus(CollectParams(files=(LETTERS,)), domain="d", input=raw, out=tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_the_example_of_the_docs_reads_from_params(tmp_path):
    (tmp_path / "params.yaml").write_text(
        """
domains:
  health:
    collect:
      files:
        - name: medquad
          glob: "*.jsonl.xz"
          licence: "CC BY 4.0"
          text: "{question} {answer}"
          meta: [focus]
"""
    )
    params = read_stage_params(tmp_path / "params.yaml", "health", "collect", CollectParams)
    assert params.files[0].text == "{question} {answer}"
    with pytest.raises(VertiformError, match=r"did you mean `glob`\?"):
        text = (tmp_path / "params.yaml").read_text().replace("glob:", "globs:")
        (tmp_path / "params.yaml").write_text(text)
        read_stage_params(tmp_path / "params.yaml", "health", "collect", CollectParams)
