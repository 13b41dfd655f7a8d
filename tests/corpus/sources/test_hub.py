"""Datasets as the library of that name saves them; none of them from the network."""

from pathlib import Path

import pytest

from vertiform.corpus.document import Document
from vertiform.corpus.sources.hub import HubSource, read_hub
from vertiform.corpus.sources.tally import Tally
from vertiform.errors import CorpusError

ROWS = [{"question": f"Question {i}?", "answer": "Yes. " * i} for i in (1, 2, 3)]


def read(folder: Path, tallies: list[Tally] | None = None, **fields) -> list[Document]:
    given = {"name": "forum", "split": "train", "licence": "MIT", "text": "{question} {answer}"}
    source = HubSource(**(given | fields))
    return list(read_hub(source, folder=folder, tallies=[] if tallies is None else tallies))


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One dataset in each form in which it can lie in a folder."""
    import datasets

    folder = tmp_path_factory.mktemp("saved")
    rows = datasets.Dataset.from_list(ROWS)
    rows.save_to_disk(str(folder / "arrow"))
    datasets.DatasetDict({"train": rows}).save_to_disk(str(folder / "splits"))
    rows.to_json(str(folder / "jsonl" / "train.jsonl"))
    return folder


@pytest.mark.parametrize("dataset", ["arrow", "splits", "jsonl"])
def test_every_form_of_a_local_dataset_gives_the_same_documents_and_hash(saved, dataset):
    tallies: list[Tally] = []
    documents = read(saved, tallies, dataset=dataset)
    assert [d.text for d in documents] == [f"{r['question']} {r['answer']}" for r in ROWS]
    assert documents[1].meta == {"licence": "MIT"}
    arrow: list[Tally] = []
    read(saved, arrow, dataset="arrow")
    assert tallies[0].sha256 == arrow[0].sha256
    assert tallies[0].rows == 3


@pytest.mark.parametrize("dataset", ["splits", "jsonl"])
def test_a_split_that_is_not_there_is_named(saved, dataset):
    with pytest.raises(CorpusError, match=rf"{dataset} of the source `forum`(.|\n)*`split`"):
        read(saved, dataset=dataset, split="training")


def test_a_field_that_is_not_there_is_named_with_its_row(saved):
    with pytest.raises(CorpusError, match=r"arrow \(train\):1 has no field `text`"):
        read(saved, dataset="arrow", text="{text}")


def test_a_dataset_without_text_is_refused(saved):
    import datasets

    datasets.Dataset.from_list([{"question": ""}]).save_to_disk(str(saved / "empty"))
    with pytest.raises(CorpusError, match=r"split `train` of empty holds no text"):
        read(saved, dataset="empty", text="{question}")


def test_without_leave_the_network_is_not_asked(tmp_path):
    import datasets

    with pytest.raises(CorpusError, match=r"nobody/nothing(.|\n)*online: true"):
        read(tmp_path, dataset="nobody/nothing")
    assert not datasets.config.HF_HUB_OFFLINE, "the switch is put back"


def test_with_leave_the_environment_still_has_the_last_word(tmp_path, monkeypatch):
    import datasets
    from huggingface_hub import constants

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(CorpusError, match=r"check the name, `split`"):
        read(tmp_path, dataset="nobody/nothing", online=True)


def test_a_dataset_that_brings_code_is_refused_unrun(tmp_path):
    (tmp_path / "coded").mkdir()
    ran = tmp_path / "ran"
    (tmp_path / "coded" / "coded.py").write_text(f"open({str(ran)!r}, 'w')")
    with pytest.raises(CorpusError, match=r"coded of the source `forum` cannot be read"):
        read(tmp_path, dataset="coded")
    assert not ran.exists()
