import json

import pytest

from tests.tracking.examples import a_run, registered
from vertiform.errors import TrackingError
from vertiform.tracking.model_files import FILES_SHA256
from vertiform.tracking.receipts import Receipt, read_receipt, write_receipt


def a_receipt(**values) -> Receipt:
    defaults = {
        "stage": "finetune@area",
        "run_id": "0" * 32,
        "run_name": "area from MiniLM",
        "scores": {"val/f1_macro": 0.5},
        "data": {"data/software/tasks": "ab" * 16},
        "config_sha256": "c0" * 32,
    }
    return Receipt(**(defaults | values))


def test_a_receipt_reads_back_as_it_was_written(store, tmp_path):
    with a_run(store) as run:
        pass
    receipt = a_receipt(run_id=run.id, facts={"best": "minilm"})
    write_receipt(tmp_path / "receipt.json", receipt)
    assert read_receipt(tmp_path / "receipt.json", store=store) == receipt


def test_a_receipt_of_a_registered_model_leads_to_it(shelf, tmp_path):
    version = shelf.next_version()
    receipt = a_receipt(
        run_id=version.run_id, model_id=version.model_id, model=version.name, version=version.number
    )
    write_receipt(tmp_path / "receipt.json", receipt)
    assert read_receipt(tmp_path / "receipt.json", store=shelf.store).version == 1


@pytest.mark.parametrize(
    ("gone", "what"),
    [
        ({"run_id": "0" * 32}, "run 0000"),
        ({"model_id": "m-" + "0" * 32}, "model m-0000"),
        ({"version": 7}, "version 7 of"),
    ],
)
def test_a_receipt_whose_run_or_model_is_gone_names_the_command_that_rebuilds_it(
    shelf, tmp_path, gone, what
):
    version = shelf.next_version()
    there = {
        "run_id": version.run_id,
        "model_id": version.model_id,
        "model": version.name,
        "version": 1,
    }
    write_receipt(tmp_path / "receipt.json", a_receipt(**(there | gone)))
    expected = rf"The {what}.* is gone .*\n.*dvc repro -f finetune@area"
    with pytest.raises(TrackingError, match=expected):
        read_receipt(tmp_path / "receipt.json", store=shelf.store)


def test_a_number_given_twice_by_a_restored_store_is_not_taken_for_the_version_of_the_receipt(
    store, tmp_path
):
    """The database goes back to before version 1, and another model is registered in its place."""
    first = registered(store, tmp_path / "first", weights=b"first")
    receipt = a_receipt(
        stage="register@area",
        run_id=first.run_id,
        model=first.name,
        version=first.number,
        facts={"files_sha256": first.tags[FILES_SHA256]},
    )
    write_receipt(tmp_path / "receipt.json", receipt)
    assert read_receipt(tmp_path / "receipt.json", store=store) == receipt

    store.client.delete_registered_model(first.name)  # what a backup from before knows of it
    again = registered(store, tmp_path / "second", weights=b"second")
    assert again.number == first.number
    expected = r"Version 1 of software-area .* restored .*\n.*dvc repro -f register@area"
    with pytest.raises(TrackingError, match=expected):
        read_receipt(tmp_path / "receipt.json", store=store)


def test_a_receipt_without_the_hash_of_files_is_still_read(shelf, tmp_path):
    version = shelf.next_version()
    receipt = a_receipt(run_id=version.run_id, model=version.name, version=version.number)
    write_receipt(tmp_path / "receipt.json", receipt)
    assert read_receipt(tmp_path / "receipt.json", store=shelf.store) == receipt


def test_a_deleted_run_is_gone_too(store, tmp_path):
    with a_run(store) as run:
        pass
    store.client.delete_run(run.id)
    write_receipt(tmp_path / "receipt.json", a_receipt(run_id=run.id))
    with pytest.raises(TrackingError, match="is gone"):
        read_receipt(tmp_path / "receipt.json", store=store)


def test_without_a_store_a_receipt_is_only_read(tmp_path):
    write_receipt(tmp_path / "receipt.json", a_receipt())
    assert read_receipt(tmp_path / "receipt.json", store=None) == a_receipt()


def test_a_missing_receipt_says_what_writes_it(tmp_path):
    with pytest.raises(TrackingError, match=r"no receipt .*\n.*dvc repro"):
        read_receipt(tmp_path / "receipt.json", store=None)


def test_a_file_that_is_no_receipt_says_what_writes_it(tmp_path):
    (tmp_path / "receipt.json").write_text(json.dumps({"run": "1"}))
    with pytest.raises(TrackingError, match="not a receipt of this version"):
        read_receipt(tmp_path / "receipt.json", store=None)


def test_a_score_that_is_no_number_is_refused(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_receipt(tmp_path / "receipt.json", a_receipt(scores={"val/f1_macro": float("nan")}))
