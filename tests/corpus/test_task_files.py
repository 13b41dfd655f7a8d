"""Tasks from files: rows are read as they are, or refused with their file and line."""

import gzip
import json
import lzma

import pytest

from vertiform.corpus.examples import check_task, held_out_texts, write_task
from vertiform.corpus.task_files import TaskFiles, label_files
from vertiform.errors import ConfigError, CorpusError

CLASSIFIED = [{"text": f"text number {n}", "label": "ab"[n % 2]} for n in range(40)]
TAGGED = [{"tokens": ["Take", f"drug{n}"], "tags": ["O", "B-Chemical"]} for n in range(10)]


def write(path, rows):
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    pack = {".xz": lzma.compress, ".gz": gzip.compress}.get(path.suffix, bytes)
    path.write_bytes(pack(data))


def read(folder, files, *, kind="classification"):
    task = label_files(
        files, name="mine", kind=kind, language="en", folder=folder, where="tasks.mine.files"
    )
    check_task(task, where="tasks.mine.files")
    return task


def splits(folder, train=CLASSIFIED, test=CLASSIFIED, **options):
    write(folder / "train.jsonl", train)
    write(folder / "test.jsonl", test)
    options = {"validation": "test.jsonl"} | options
    return TaskFiles("train.jsonl", test="test.jsonl", **options)


def test_rows_keep_their_text_label_and_place(tmp_path):
    task = read(tmp_path, splits(tmp_path))
    first = task.rows["train"][0]
    assert (first["id"], first["text"], first["label"]) == ("train.jsonl:1", "text number 0", "a")
    assert len(task.rows["test"]) == 40
    assert task.facts["texts_also_in_train"] == {"validation": 40, "test": 40}


def test_packed_files_and_other_field_names_are_read(tmp_path):
    rows = [{"abstract": row["text"], "mesh": 3 + n % 2} for n, row in enumerate(CLASSIFIED)]
    write(tmp_path / "a.jsonl.xz", rows)
    write(tmp_path / "b.jsonl.gz", rows)
    files = TaskFiles("a.jsonl.xz", "b.jsonl.gz", "b.jsonl.gz", text="abstract", label="mesh")
    assert {row["label"] for row in read(tmp_path, files).rows["train"]} == {"3", "4"}


def test_fields_named_as_slices_go_with_the_row_and_a_row_without_one_is_named(tmp_path):
    rows = [row | {"ward": n % 3, "year": "2024"} for n, row in enumerate(CLASSIFIED)]
    for name in ("a", "b", "c"):
        write(tmp_path / f"{name}.jsonl", rows)
    files = TaskFiles("a.jsonl", "b.jsonl", "c.jsonl", slices=("ward", "year"))
    assert read(tmp_path, files).rows["test"][1]["slices"] == {"ward": "1", "year": "2024"}
    with pytest.raises(CorpusError, match=r"a.jsonl:1 has no field `wad`"):
        read(tmp_path, TaskFiles("a.jsonl", "b.jsonl", "c.jsonl", slices=("wad",)))


def test_fractions_of_train_keep_rows_of_a_group_together(tmp_path):
    rows = [row | {"patient": n // 4} for n, row in enumerate(CLASSIFIED * 5)]
    write(tmp_path / "all.jsonl", rows)
    files = TaskFiles("all.jsonl", validation_fraction=0.2, test_fraction=0.3, group="patient")
    task = read(tmp_path, files)
    groups = [{row["group"] for row in task.rows[s]} for s in ("train", "validation", "test")]
    assert all(groups)
    assert sum(map(len, groups)) == len(set.union(*groups)) == 50
    assert "test is 0.3 of train by hash of the field `patient`" in task.split_rule


def test_equal_texts_stay_together_where_no_group_is_named(tmp_path):
    write(tmp_path / "all.jsonl", CLASSIFIED * 3)
    task = read(tmp_path, TaskFiles("all.jsonl", validation_fraction=0.2, test_fraction=0.2))
    assert task.facts["texts_also_in_train"] == {"validation": 0, "test": 0}


def test_tagged_rows_are_read(tmp_path):
    files = splits(tmp_path, TAGGED, TAGGED)
    assert read(tmp_path, files, kind="entities").rows["test"][3]["tags"] == ["O", "B-Chemical"]


def test_an_entity_that_begins_with_i_begins_with_b(tmp_path):
    train = [*TAGGED, {"tokens": list("abcd"), "tags": ["I-x", "I-x", "I-y", "O"]}]
    task = read(tmp_path, splits(tmp_path, train, TAGGED), kind="entities")
    assert task.rows["train"][-1]["tags"] == ["B-x", "I-x", "B-y", "O"]
    assert task.facts["tags_repaired"] == 2


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"text": "", "label": "a"}, r"train\.jsonl:2 has no text in `text`"),
        ({"text": 7, "label": "a"}, r"train\.jsonl:2 has no text"),
        ({"text": "x", "label": None}, r"train\.jsonl:2 has None in `label`"),
        ({"text": "x", "label": True}, r"train\.jsonl:2 has True in `label`"),
        ({"text": "x", "lable": "a"}, r"train\.jsonl:2 has no field `label`(.|\n)*mean `lable`"),
    ],
)
def test_a_broken_classified_row_is_named(tmp_path, row, says):
    with pytest.raises(CorpusError, match=says):
        read(tmp_path, splits(tmp_path, [CLASSIFIED[0], row]))


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"tokens": ["a", "b"], "tags": ["O"]}, r"train\.jsonl:2 has 2 tokens but 1 tags"),
        ({"tokens": ["a"], "tags": ["chemical"]}, r"train\.jsonl:2 has the tag 'chemical'"),
        ({"tokens": ["a"], "tags": ["B-"]}, r"train\.jsonl:2 has the tag 'B-'"),
        ({"tokens": "a", "tags": ["O"]}, r"train\.jsonl:2 has no list of words in `tokens`"),
        ({"tokens": [], "tags": []}, r"train\.jsonl:2 has no list of words in `tokens`"),
        ({"tokens": ["a"], "tags": [0]}, r"train\.jsonl:2 has no list of words in `tags`"),
    ],
)
def test_a_broken_tagged_row_is_named(tmp_path, row, says):
    with pytest.raises(CorpusError, match=says):
        read(tmp_path, splits(tmp_path, [TAGGED[0], row]), kind="entities")


def test_a_row_that_is_not_json_is_named(tmp_path):
    files = splits(tmp_path)
    (tmp_path / "train.jsonl").write_text('{"text": "x", "label": "a"}\n{"text": \n')
    with pytest.raises(CorpusError, match=r"train\.jsonl:2 is not JSON"):
        read(tmp_path, files)


def test_a_missing_file_is_answered_with_the_one_meant(tmp_path):
    files = splits(tmp_path, validation="tset.jsonl")
    with pytest.raises(CorpusError, match=r"tset\.jsonl.*does not exist(.|\n)*mean `test\.jsonl`"):
        read(tmp_path, files)


def test_a_missing_file_in_an_empty_folder_is_named(tmp_path):
    with pytest.raises(CorpusError, match=r"a\.jsonl, which tasks\.mine\.files names"):
        read(tmp_path, TaskFiles("a.jsonl", "b.jsonl", "c.jsonl"))


def test_an_empty_file_is_named(tmp_path):
    with pytest.raises(CorpusError, match=r"train\.jsonl is empty"):
        read(tmp_path, splits(tmp_path, train=[]))


def test_a_file_of_blank_lines_is_named(tmp_path):
    files = splits(tmp_path)
    (tmp_path / "train.jsonl").write_text("\n\n")
    with pytest.raises(CorpusError, match=r"train\.jsonl holds no rows"):
        read(tmp_path, files)


def test_a_label_that_only_the_test_split_has_is_named(tmp_path):
    test = [*CLASSIFIED, {"text": "new", "label": "c"}]
    with pytest.raises(
        CorpusError, match=r"the label `c` in its validation split but not in train"
    ):
        read(tmp_path, splits(tmp_path, test=test))
    files = splits(tmp_path, train=[*CLASSIFIED, *CLASSIFIED], test=test, validation="train.jsonl")
    with pytest.raises(CorpusError, match=r"the label `c` in its test split"):
        read(tmp_path, files)


def test_a_task_with_one_class_is_refused(tmp_path):
    only = [row for row in CLASSIFIED if row["label"] == "a"]
    with pytest.raises(CorpusError, match=r"one class, `a`"):
        read(tmp_path, splits(tmp_path, only, only))


def test_a_task_without_any_entity_is_refused(tmp_path):
    none = [{"tokens": ["a"], "tags": ["O"]}]
    with pytest.raises(CorpusError, match=r"every tag is O"):
        read(tmp_path, splits(tmp_path, none, none), kind="entities")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"validation": None}, "neither a file nor a fraction for its validation split"),
        ({"validation_fraction": 0.1}, "both a file and a fraction for its validation split"),
    ],
)
def test_each_split_comes_from_a_file_or_a_fraction(tmp_path, options, says):
    with pytest.raises(ConfigError, match=says):
        read(tmp_path, splits(tmp_path, **options))


def test_fractions_leave_something_to_train_on(tmp_path):
    with pytest.raises(ConfigError, match=r"leave nothing to train on"):
        read(tmp_path, TaskFiles("a.jsonl", validation_fraction=0.5, test_fraction=0.5))


def test_held_out_texts_are_those_of_validation_and_test_of_every_task(tmp_path):
    tagged = read(tmp_path, splits(tmp_path, TAGGED, TAGGED), kind="entities")
    classified = read(tmp_path, splits(tmp_path))
    write_task(tmp_path / "tasks" / "a", classified)
    write_task(tmp_path / "tasks" / "b", tagged)
    texts = dict(held_out_texts(tmp_path / "tasks"))
    assert len(texts) == 2 * 40  # ids name task, split and row; both tasks have the name `mine`
    assert texts["mine/test/test.jsonl:1"] == "Take drug0"
