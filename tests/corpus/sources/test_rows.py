import hypothesis.strategies as st
from hypothesis import given

from vertiform.corpus.sources.rows import RowMapping, cut, documents_of
from vertiform.corpus.sources.tally import Tally

TALLY = Tally(source="notes", name="a.jsonl", licence="MIT")


def mapping(**fields) -> RowMapping:
    given = {"source": "notes", "text": "{text}", "id": None, "meta": (), "max_characters": None}
    return RowMapping(**(given | fields))


def documents(row: dict, **fields):
    return list(
        documents_of(row, where="a.jsonl:7", number=7, mapping=mapping(**fields), tally=TALLY)
    )


def test_a_template_joins_fields_and_takes_nothing_for_null():
    (document,) = documents({"q": "Why?", "a": None, "n": 3}, text="{q} {a}({n})")
    assert document.text == "Why? (3)"


def test_a_row_without_an_id_is_named_by_its_file_and_number():
    assert documents({"text": "a"})[0].id == "notes/a.jsonl:7"
    assert documents({"text": "a", "key": 12}, id="key")[0].id == "notes/12"


def test_half_a_surrogate_pair_does_not_reach_a_file():
    (document,) = documents({"text": "a\ud800b"})
    assert document.text == "a?b"


def test_a_long_text_becomes_numbered_parts():
    parts = documents({"text": "One two. Three four."}, max_characters=12)
    assert [(p.id, p.text, p.meta["part"]) for p in parts] == [
        ("notes/a.jsonl:7#1", "One two.", 1),
        ("notes/a.jsonl:7#2", "Three four.", 2),
    ]


def test_a_text_is_cut_where_its_structure_ends():
    assert cut("abcdef\n\nghi jkl. mno", max_characters=11) == ["abcdef", "ghi jkl.", "mno"]
    assert cut("\u75db\u98ce\u3002\u7cd6\u5c3f\u75c5", max_characters=4) == [
        "\u75db\u98ce\u3002",
        "\u7cd6\u5c3f\u75c5",
    ]
    assert cut("x" * 10, max_characters=4) == ["xxxx", "xxxx", "xx"]


@given(st.text(alphabet="ab .\n\u3002", max_size=200), st.integers(1, 50))
def test_cutting_loses_nothing_but_spaces_and_keeps_to_the_limit(text, max_characters):
    pieces = cut(text, max_characters=max_characters)
    assert all(0 < len(piece) <= max_characters for piece in pieces)
    assert "".join("".join(pieces).split()) == "".join(text.split())
