"""The stage label: tasks whose splits are apart, and errors that say what to change."""

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from vertiform.corpus.document import Document, write_documents
from vertiform.corpus.label import LabelParams, TaskParams, label_corpus
from vertiform.corpus.label_area import AreaParams
from vertiform.corpus.label_entities import EntitiesParams
from vertiform.corpus.selection import RowsBySplit
from vertiform.corpus.task_files import TaskFiles
from vertiform.errors import ConfigError, CorpusError
from vertiform.files import read_json, sha256_of

NOUNS = ("table", "query", "column", "index", "commit", "branch", "merge", "tensor", "layer", "job")

AREA = AreaParams(
    areas={"databases": ("sqlbase", "storelite"), "graphs": ("webgraph",)},
    masked_words=("wg", "Data-Base"),
    passage_words=20,
    min_passage_words=15,
    validation_fraction=0.2,
    test_fraction=0.3,
    max_rows_per_area=RowsBySplit(train=9, validation=4, test=6),
)
ENTITIES = EntitiesParams(
    types={"class": ("class",), "callable": ("function", "method")},
    validation_packages=("storelite",),
    test_packages=("webgraph",),
    min_tokens=4,
    max_tokens=40,
    max_rows=RowsBySplit(train=10, validation=5, test=5),
    max_rows_per_package=RowsBySplit(train=8, validation=5, test=5),
    nameless_fraction=0.2,
)
TASKS = {
    "area": TaskParams("classification", "en", python_area=AREA),
    "entities": TaskParams("entities", "en", python_entities=ENTITIES),
}


def docstring(package, number):
    """Sixteen words or more, no two alike, with a name to mask and names to tag."""
    words = random.Random(f"{package}{number}").choices(NOUNS, k=14)
    role = "class" if number % 2 else "func"
    return (
        f"{package} in chapter {number} has {' '.join(words)}.\n\n"
        f"It calls :{role}:`Name{number}{package}` for {words[0]} of chapter {number}.\n\n"
        f"No name is in the sentence {number} about {words[1]} of {package}."
    )


def docs():
    return [
        Document(
            id=f"python_docs/{package}.part{part}.file:f{number}",
            text=docstring(package, part * 10 + number),
            source="python_docs",
            meta={"package": package, "module": f"{package}.part{part}.file"},
        )
        for package in ("sqlbase", "storelite", "webgraph")
        for part in range(7)
        for number in range(4)
    ]


def label(folder, tasks=TASKS, documents=None):
    kept = documents or docs()
    write_documents(folder / "collected", docs())
    write_documents(folder / "documents", kept)
    return label_corpus(
        LabelParams(tasks),
        domain="software",
        input=folder,
        collected=folder / "collected",
        documents=folder / "documents",
        out=folder / "tasks",
    )


def rows(folder: Path, task: str, split: str):
    return [json.loads(line) for line in (folder / "tasks" / task / f"{split}.jsonl").open()]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("label")
    return folder, label(folder)


@pytest.mark.parametrize("task", TASKS)
def test_no_group_is_in_two_splits(made, task):
    groups = [{row["group"] for row in rows(made[0], task, s)} for s in ("train", "test")]
    groups.append({row["group"] for row in rows(made[0], task, "validation")})
    assert all(groups)
    assert sum(map(len, groups)) == len(set.union(*groups))


@pytest.mark.parametrize("task", TASKS)
def test_task_json_describes_the_rows_beside_it(made, task):
    folder = made[0] / "tasks" / task
    facts = read_json(folder / "task.json")
    assert facts["kind"] == TASKS[task].kind
    assert facts["rows"] == made[1]["tasks"][task]["rows"]
    for split, sha256 in facts["sha256"].items():
        assert sha256_of(folder / f"{split}.jsonl") == sha256
        assert len(rows(made[0], task, split)) == facts["rows"][split]
    assert facts["labels"] == sorted(facts["labels"])


def test_the_same_documents_give_the_same_bytes(made, tmp_path):
    label(tmp_path)
    assert sha256_of(tmp_path / "tasks") == sha256_of(made[0] / "tasks")


def test_area_has_one_passage_a_document_and_no_more_than_asked_for(made):
    all_rows = [
        row for split in ("train", "validation", "test") for row in rows(made[0], "area", split)
    ]
    ids = [row["id"] for row in all_rows]
    assert len(ids) == len(set(ids))
    per_area = made[1]["tasks"]["area"]["labels"]
    assert per_area == {
        "train": {"databases": 9, "graphs": 9},
        "validation": {"databases": 4, "graphs": 4},
        "test": {"databases": 6, "graphs": 6},
    }
    assert all(len(row["text"].split()) <= 20 for row in all_rows)


def test_rows_say_which_package_they_are_of(made):
    for row in rows(made[0], "entities", "test"):
        assert row["slices"] == {"package": row["group"]}
    for row in rows(made[0], "area", "test"):
        assert row["group"].startswith(row["slices"]["package"])


def test_area_takes_packages_in_turn(made):
    chosen = [row["group"].partition(".")[0] for row in rows(made[0], "area", "test")]
    assert chosen.count("sqlbase") == chosen.count("storelite") == 3


def test_area_masks_the_names_of_all_packages_in_every_dress(tmp_path):
    text = "SQLBase and my_wg, PySqlBaseTool, wg.Graph, a data-base, but growing wgx swages on "
    tail = " ".join(f"word{number}" for number in range(20))
    documents = docs()
    documents[0] = replace(documents[0], text=text + tail)
    area = replace(AREA, passage_words=40, max_rows_per_area=RowsBySplit(99, 99, 99))
    label(tmp_path, {"area": TaskParams("classification", "en", python_area=area)}, documents)
    every = [row for s in ("train", "validation", "test") for row in rows(tmp_path, "area", s)]
    (found,) = (row["text"] for row in every if row["id"] == documents[0].id)
    assert found.startswith(
        "library and my_library, library, library.Graph, a library, but growing wgx swages on"
    )


def test_area_takes_the_description_and_not_the_parameters(tmp_path):
    documents = docs()
    entry = "\n\naxis, out: The one along which it goes.\n\nMore words."
    documents[0] = replace(documents[0], text=documents[0].text + entry)
    area = replace(AREA, passage_words=99, max_rows_per_area=RowsBySplit(99, 99, 99))
    label(tmp_path, {"area": TaskParams("classification", "en", python_area=area)}, documents)
    every = [row for s in ("train", "validation", "test") for row in rows(tmp_path, "area", s)]
    assert {documents[0].id} <= {row["id"] for row in every}
    assert not any("axis" in row["text"] or "More" in row["text"] for row in every)


def test_entities_come_from_documents_that_outlived_deduplication(tmp_path):
    kept = [document for document in docs() if "part0" not in document.id]
    label(tmp_path, {"entities": TASKS["entities"]}, kept)
    ids = {row["id"] for s in ("train", "test") for row in rows(tmp_path, "entities", s)}
    assert ids
    assert not any("part0" in row_id for row_id in ids)


def test_entities_have_the_asked_share_of_sentences_without_a_name(made):
    nameless = [set(row["tags"]) == {"O"} for row in rows(made[0], "entities", "train")]
    assert (len(nameless), sum(nameless)) == (10, 2)
    assert {"B-class", "B-callable", "O"} == {
        tag for row in rows(made[0], "entities", "train") for tag in row["tags"]
    }


def test_a_domain_without_tasks_is_fine(tmp_path):
    assert label(tmp_path, {})["summary"] == "0 tasks, 0 examples (none)"


def test_an_area_without_documents_is_named(tmp_path):
    area = replace(AREA, areas={**AREA.areas, "plotting": ("nowhere",)})
    with pytest.raises(
        CorpusError, match=r"No document belongs to the area `plotting` \(nowhere\)"
    ):
        label(tmp_path, {"area": TaskParams("classification", "en", python_area=area)})


def test_a_task_with_one_class_is_refused_and_nothing_is_written(tmp_path):
    area = replace(AREA, areas={"databases": ("sqlbase",)})
    with pytest.raises(CorpusError, match=r"has one class, `databases`"):
        label(tmp_path, {"area": TaskParams("classification", "en", python_area=area)})
    assert not (tmp_path / "tasks").exists()


def test_a_package_that_is_held_out_but_absent_is_answered_with_the_one_meant(tmp_path):
    entities = replace(ENTITIES, test_packages=("webgraf",))
    with pytest.raises(CorpusError, match=r"`webgraf`, which has no documents") as error:
        label(tmp_path, {"entities": TaskParams("entities", "en", python_entities=entities)})
    assert "did you mean `webgraph`?" in error.value.fix


def test_an_unknown_kind_of_markup_is_answered_with_the_one_meant(tmp_path):
    entities = replace(ENTITIES, types={"class": ("klass",)})
    with pytest.raises(ConfigError, match=r"did you mean `class`"):
        label(tmp_path, {"entities": TaskParams("entities", "en", python_entities=entities)})


def test_an_unknown_kind_of_task_is_answered_with_the_one_meant(tmp_path):
    with pytest.raises(ConfigError, match=r"tasks\.area\.kind `clasification`.*\n.*did you mean"):
        label(tmp_path, {"area": TaskParams("clasification", "en", python_area=AREA)})


def test_a_kind_that_its_source_does_not_make_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"python_area makes `classification`"):
        label(tmp_path, {"area": TaskParams("entities", "en", python_area=AREA)})


@pytest.mark.parametrize(
    ("task", "named"),
    [
        (TaskParams("entities", "en"), "no place"),
        (
            TaskParams("entities", "en", files=TaskFiles("a", test="b"), python_entities=ENTITIES),
            "python_entities and files",
        ),
    ],
)
def test_a_task_has_exactly_one_source(tmp_path, task, named):
    with pytest.raises(ConfigError, match=named):
        label(tmp_path, {"area": task})


def test_a_split_that_stays_empty_is_named(tmp_path):
    documents = [document for document in docs() if "part0" in document.id]
    area = replace(AREA, validation_fraction=0.01, test_fraction=0.01)
    with pytest.raises(CorpusError, match=r"task `area` has no validation examples"):
        label(tmp_path, {"area": TaskParams("classification", "en", python_area=area)}, documents)
