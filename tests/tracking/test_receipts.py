import json

import pytest

from tests.tracking.examples import a_run
from vertiform.errors import TrackingError
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
