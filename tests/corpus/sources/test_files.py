"""Files of every kind, packed and plain; and every error that names a file and a line."""

import csv
import gzip
import io
import json
import lzma
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
import zstandard

from vertiform.corpus.document import Document
from vertiform.corpus.sources.files import FilesSource, read_files
from vertiform.corpus.sources.tally import Tally
from vertiform.errors import ConfigError, CorpusError, VertiformError
from vertiform.files import sha256_of

ROWS = [
    {"title": "Gout", "body": "Uric acid\ncrystals, in a joint."},
    {"title": "Grippe", "body": 'It\u2019s "flu", \u6d41\u611f.'},
]
PACKERS = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress, ".zst": zstandard.compress}


def read(folder: Path, glob: str, **fields) -> list[Document]:
    source = FilesSource(name="notes", glob=glob, licence="CC0-1.0", **fields)
    return list(read_files(source, folder=folder, tallies=[]))


def as_jsonl(rows: list[dict]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def as_csv(rows: list[dict]) -> bytes:
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, list(rows[0]))
    table.writeheader()
    table.writerows(rows)
    return text.getvalue().encode()


@pytest.mark.parametrize("packed", PACKERS)
@pytest.mark.parametrize(("kind", "write"), [(".jsonl", as_jsonl), (".csv", as_csv)])
def test_the_same_rows_come_out_of_every_kind_of_file(tmp_path, packed, kind, write):
    (tmp_path / f"a{kind}{packed}").write_bytes(PACKERS[packed](write(ROWS)))
    documents = read(tmp_path, "a*", text="{title}: {body}", meta=("title",))
    assert [d.text for d in documents] == [f"{r['title']}: {r['body']}" for r in ROWS]
    assert documents[0].meta == {"title": "Gout", "licence": "CC0-1.0"}


def test_parquet_gives_the_same_rows(tmp_path):
    pa.parquet.write_table(pa.Table.from_pylist(ROWS), tmp_path / "a.parquet")
    documents = read(tmp_path, "*.parquet", text="{body}", id="title")
    assert [(d.id, d.text) for d in documents] == [
        (f"notes/{row['title']}", row["body"]) for row in ROWS
    ]


@pytest.mark.parametrize(
    ("unit", "texts"),
    [
        ("file", ["One.\nTwo.\n\nThree."]),
        ("paragraph", ["One.\nTwo.", "Three."]),
        ("line", ["One.", "Two.", "Three."]),
    ],
)
def test_a_text_file_is_cut_as_asked(tmp_path, unit, texts):
    (tmp_path / "a.txt").write_text("One.\nTwo.\n\nThree.\n")
    documents = read(tmp_path, "a.txt", one_document_per=unit)
    assert [document.text for document in documents] == texts
    assert [int(document.id.rpartition(":")[2]) for document in documents] == [
        1 if text.startswith("One") else 2 if text.startswith("Two") else 4 for text in texts
    ], "a document without an id is named by its first line"


def test_files_are_read_in_the_order_of_their_names_and_each_is_tallied(tmp_path):
    for name in ("b/2.txt", "b/10.txt", "a.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"Text of {name}.")
    tallies: list[Tally] = []
    source = FilesSource(name="notes", glob="**/*.txt", licence="CC0-1.0")
    texts = [d.text for d in read_files(source, folder=tmp_path, tallies=tallies)]
    assert texts == ["Text of a.txt.", "Text of b/10.txt.", "Text of b/2.txt."]
    assert [t.name for t in tallies] == ["a.txt", "b/10.txt", "b/2.txt"]
    assert tallies[0].as_report() == {
        "source": "notes",
        "name": "a.txt",
        "licence": "CC0-1.0",
        "rows": 1,
        "documents": 1,
        "sha256": sha256_of(tmp_path / "a.txt"),
    }


def test_the_input_may_be_one_file(tmp_path):
    (tmp_path / "a.txt").write_text("Here.")
    (tmp_path / "b.txt").write_text("Not watched.")
    assert [d.text for d in read(tmp_path / "a.txt", "*.txt")] == ["Here."]


def test_rows_without_text_are_counted_and_left_out(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(as_jsonl([{"text": " "}, {"text": None}, {"text": "x"}]))
    tallies: list[Tally] = []
    source = FilesSource(name="notes", glob="a.jsonl", licence="CC0-1.0")
    assert len(list(read_files(source, folder=tmp_path, tallies=tallies))) == 1
    assert tallies[0].as_report()["skipped"] == {"empty text": 2}


def test_a_byte_order_mark_is_no_text(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfText.")
    assert read(tmp_path, "a.txt")[0].text == "Text."


def test_fields_that_json_cannot_hold_become_text_or_nothing(tmp_path):
    table = pa.table({"text": ["x"], "day": pa.array([0], pa.date32()), "score": [float("nan")]})
    pa.parquet.write_table(table, tmp_path / "a.parquet")
    (document,) = read(tmp_path, "a.parquet", meta=("day", "score"))
    assert document.meta == {"day": "1970-01-01", "score": None, "licence": "CC0-1.0"}


BROKEN = {
    "latin.txt": (
        "First.\nCaf\u00e9 au lait, s'il vous pla\u00eet.\n".encode("cp1252"),
        r"latin.txt:2 is not UTF-8: byte 0xe9 at column 4.*\n.*iconv -f WINDOWS-1252",
    ),
    "chinese.txt": (
        "\u75db\u98ce\u662f\u4e00\u79cd\u75be\u75c5".encode("gb18030"),
        r"chinese.txt:1 is not UTF-8.*\n.*iconv -f GB18030",
    ),
    "wide.txt": ("Wide.".encode("utf-16"), r"wide.txt:1 is not UTF-8.*\n.*iconv -f UTF-16"),
    "cut.jsonl": (b'{"text": "a"}\n{"text": "b\n', r"cut.jsonl:2 is not JSON: .* column"),
    "deep.jsonl": (b'{"text": ' + b"[" * 100_000, r"deep.jsonl:1 is not JSON"),
    "list.jsonl": (b'["a"]\n', r"list.jsonl:1 is a JSON list, not an object"),
    "key.jsonl": (
        b'{"txt": "a"}\n',
        r"key.jsonl:1 has no field `text`.*\n.*did you mean `txt`\?",
    ),
    "number.jsonl": (b'{"text": {"a": 1}}\n', r"number.jsonl:1 has a dict in the field `text`"),
    "row.csv": (b"text,by\na,b\nc\n", r"row.csv:3 has 1 fields; the header has 2"),
    "quote.csv": (b'text,by\n"a"b,c\n', r"quote.csv:2 is not CSV"),
    "nothing.txt": (b"", r"nothing.txt is empty: 0 bytes"),
    "blank.txt": (b"\n \n", r"blank.txt of the source `notes` holds no text"),
    "half.jsonl.gz": (gzip.compress(b'{"text": "a"}\n' * 99)[:-9], r"half.jsonl.gz cannot be unp"),
    "half.jsonl.xz": (lzma.compress(b'{"text": "a"}\n' * 99)[:-9], r"half.jsonl.xz cannot be unp"),
    "half.jsonl.zst": (
        zstandard.compress(b'{"text": "a"}\n' * 9999)[:-5],
        r"half.jsonl.zst cannot be unpacked",
    ),
    "bad.jsonl.zst": (b"no archive", r"bad.jsonl.zst cannot be unpacked"),
    "bad.parquet": (b"PAR1 no parquet", r"bad.parquet cannot be read as parquet"),
    "text.docx": (b"PK", r"text.docx is of no kind that can be read"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_named_with_the_line(tmp_path, name):
    content, message = BROKEN[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CorpusError, match=message):
        read(tmp_path, name)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"glob": "*.md"}, r"No file matches \*\.md in .*\n.*it holds a\.txt"),
        ({"glob": "/etc/*.txt"}, r"has an absolute glob: /etc"),
        ({"glob": "a.txt", "text": "text"}, r"names no field.*\n.*\{text\}"),
        ({"glob": "a.txt", "one_document_per": "lines"}, r"`lines`.*\n.*did you mean `line`"),
        ({"glob": "a.txt", "max_characters": 0}, r"max_characters: 0"),
    ],
)
def test_a_source_that_cannot_be_meant_is_named(tmp_path, fields, message):
    (tmp_path / "a.txt").write_text("Text.")
    with pytest.raises(VertiformError, match=message):
        read(tmp_path, **fields)


def test_a_missing_input_is_named(tmp_path):
    with pytest.raises(CorpusError, match=r"nowhere, the input of the source `notes`, does not ex"):
        read(tmp_path / "nowhere", "*.txt")


def test_a_row_without_its_id_is_named(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(as_jsonl([{"text": "a", "key": ""}]))
    with pytest.raises(CorpusError, match=r"a.jsonl:1 has nothing in the field `key`"):
        read(tmp_path, "a.jsonl", id="key")


def test_a_text_template_must_be_a_known_field(tmp_path):
    with pytest.raises(ConfigError, match="names no field"):
        read(tmp_path, "a.txt", text="")
