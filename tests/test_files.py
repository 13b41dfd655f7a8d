"""Files appear whole or not at all."""

import errno
import os
from pathlib import Path

import pytest

from vertiform.errors import StorageError
from vertiform.files import (
    folder_written_whole,
    leads_outside,
    read_json,
    sha256_of,
    write_json,
    written_whole,
)


def test_a_file_whose_writing_failed_is_what_it_was_before(tmp_path):
    path = tmp_path / "report.json"
    write_json(path, {"rows": 1})
    with pytest.raises(RuntimeError), written_whole(path) as file:
        file.write("half")
        raise RuntimeError
    assert read_json(path) == {"rows": 1}
    assert os.listdir(tmp_path) == ["report.json"]


def test_a_folder_whose_writing_failed_is_what_it_was_before(tmp_path):
    folder = tmp_path / "tokens"
    with folder_written_whole(folder) as aside:
        (aside / "a").write_text("old")
    with pytest.raises(RuntimeError), folder_written_whole(folder) as aside:
        (aside / "a").write_text("new")
        raise RuntimeError
    assert (folder / "a").read_text() == "old"
    assert os.listdir(tmp_path) == ["tokens"]


def test_a_full_disk_is_one_line_with_its_fix(tmp_path):
    with pytest.raises(StorageError, match=r"No space is left(.|\n)*Fix: free some space"):
        with written_whole(tmp_path / "x"):
            raise OSError(errno.ENOSPC, "No space left on device")
    assert os.listdir(tmp_path) == []


def test_a_real_full_disk_is_named():
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full to write to")
    with pytest.raises(StorageError, match="No space is left"):
        with folder_written_whole(Path("/tmp") / f"vertiform-full-{os.getpid()}"):
            Path("/dev/full").write_text("x" * 100_000)


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(StorageError, match=r"cannot be written(.|\n)*give yourself the right"):
        with written_whole(tmp_path / "x"):
            raise PermissionError(errno.EACCES, "Permission denied")


def test_json_refuses_what_is_not_json(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", {"loss": float("nan")})
    assert os.listdir(tmp_path) == []


def test_the_hash_of_a_folder_sees_names_and_bytes(tmp_path):
    for name, text in (("one", "a"), ("two", "b")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(text)
    first = sha256_of(tmp_path / "one")
    assert first != sha256_of(tmp_path / "two")
    (tmp_path / "two" / "file").write_text("a")
    assert first == sha256_of(tmp_path / "two")
    (tmp_path / "two" / "file").rename(tmp_path / "two" / "other")
    assert first != sha256_of(tmp_path / "two")


@pytest.mark.parametrize(
    "name",
    [
        "..",
        "../x",
        "a/../x",
        "/x",
        "\\x",
        "..\\x",
        "C:\\x",
        "c:x",
        "%2e%2e/x",
        "%252e%252e%252fx",
        "%2fx",
    ],
)
def test_a_name_that_could_mean_a_file_outside_is_told(name):
    assert leads_outside(name)


@pytest.mark.parametrize("name", ["x", "a/b.json", "a..b", "...", "f1/C++", "100%", ".hidden/x"])
def test_a_name_inside_is_left_alone(name):
    assert not leads_outside(name)


def test_a_file_is_on_the_disk_before_it_has_its_name_and_its_name_is_too(tmp_path, monkeypatch):
    """Only a machine that loses power would show it, no process that is killed: so, the calls."""
    seen = []
    real_sync, real_replace = os.fsync, Path.replace

    def fsync(file):
        seen.append("sync of " + Path(f"/proc/self/fd/{file}").readlink().name)
        real_sync(file)

    def replace(path, target):
        seen.append(f"rename to {Path(target).name}")
        return real_replace(path, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    write_json(tmp_path / "x.json", {})
    assert seen[0].startswith("sync of .x.json.")
    assert seen[1:] == ["rename to x.json", f"sync of {tmp_path.name}"]
    seen.clear()
    with folder_written_whole(tmp_path / "folder") as aside:
        (aside / "a").write_text("new")
    assert seen == ["sync of a", "rename to folder", f"sync of {tmp_path.name}"]
