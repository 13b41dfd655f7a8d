import pytest

from vertiform.errors import TrackingError
from vertiform.tracking.model_files import FILES, check_files, write_file_list


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts" / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "MLmodel").write_text("flavors: {}")
    return tmp_path


def check(folder, sha256):
    check_files(folder, expected_sha256=sha256, model="software-area 3", rebuild="dvc repro -f x")


def test_files_that_did_not_change_pass(folder):
    check(folder, write_file_list(folder))


def test_what_loading_a_model_leaves_behind_is_no_change(folder):
    sha256 = write_file_list(folder)
    (folder / "registered_model_meta").write_text("model_name: software-area")
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "a.pyc").write_bytes(b"")
    check(folder, sha256)


def test_a_changed_file_is_named_with_the_command_that_rebuilds_it(folder):
    sha256 = write_file_list(folder)
    (folder / "artifacts" / "model.safetensors").write_bytes(b"weightz")
    with pytest.raises(TrackingError, match=r"model.safetensors .*changed.*\n.*dvc repro -f x"):
        check(folder, sha256)


def test_a_missing_file_is_named(folder):
    sha256 = write_file_list(folder)
    (folder / "artifacts" / "model.safetensors").unlink()
    with pytest.raises(TrackingError, match="software-area 3 lacks its file artifacts/model"):
        check(folder, sha256)


def test_a_file_that_was_added_is_named(folder):
    sha256 = write_file_list(folder)
    (folder / "extra.py").write_text("")
    with pytest.raises(TrackingError, match=r"nobody registered: extra\.py"):
        check(folder, sha256)


def test_a_second_list_deeper_down_is_a_file_like_any_other(folder):
    sha256 = write_file_list(folder)
    (folder / "artifacts" / FILES).write_text("{}")
    with pytest.raises(TrackingError, match="nobody registered"):
        check(folder, sha256)


def test_a_list_written_anew_over_changed_files_is_seen(folder):
    sha256 = write_file_list(folder)
    (folder / "artifacts" / "model.safetensors").write_bytes(b"weightz")
    write_file_list(folder)
    with pytest.raises(TrackingError, match=r"list of files .* is not the one registered"):
        check(folder, sha256)


def test_a_folder_without_a_list_has_no_files(folder):
    assert not (folder / FILES).exists()
    with pytest.raises(TrackingError, match="has no files at"):
        check(folder, "0" * 64)
