import subprocess
from pathlib import Path

from tests.tracking.examples import LINEAGE
from vertiform.files import sha256_of
from vertiform.tracking.lineage import DIFF_BYTES, collect_lineage, read_code

LOCK = """
schema: '2.0'
stages:
  tokenize@software:
    cmd: python -m pipelines.tokenize --domain software
    deps:
    - path: data/software/deduplicated
      hash: md5
      md5: 00000000000000000000000000000001.dir
    outs:
    - path: data/software/tokens
      hash: md5
      md5: 123456789e1012345678901234567890.dir
      size: 2048
      nfiles: 5
"""


def git(root: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Ann", "-c", "user.email=ann@example.com"]
    command = ["git", *identity, *arguments]
    return subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout


def a_repository(root: Path) -> Path:
    git(root, "init", "-q", "-b", "main")
    (root / "code.py").write_text("depth = 2\n")
    git(root, "add", "code.py")
    git(root, "commit", "-q", "-m", "Start")
    return root


def test_a_clean_commit_is_named_with_its_branch(tmp_path):
    root = a_repository(tmp_path)
    code = read_code(root)
    assert code.commit == git(root, "rev-parse", "HEAD").strip()
    assert code.branch == "main"
    assert (code.is_dirty, code.diff) == (False, "")


def test_an_uncommitted_edit_and_a_new_file_are_in_the_diff(tmp_path):
    root = a_repository(tmp_path)
    (root / "code.py").write_text("depth = 3\n")
    (root / "new.py").write_text("width = 128\n")
    code = read_code(root)
    assert code.is_dirty
    assert "+depth = 3" in code.diff
    assert f"untracked: new.py sha256 {sha256_of(root / 'new.py')}" in code.diff
    assert code.dirty_files == ("code.py", "new.py")


def test_what_stages_write_does_not_make_the_tree_dirty(tmp_path):
    root = a_repository(tmp_path)
    (root / "reports").mkdir()
    (root / "reports" / "clean.json").write_text("{}")
    (root / "dvc.lock").write_text(LOCK)
    assert not read_code(root).is_dirty


def test_a_long_diff_is_capped_and_its_hash_is_over_all_of_it(tmp_path):
    root = a_repository(tmp_path)
    (root / "code.py").write_text("x\n" * DIFF_BYTES)
    first = read_code(root)
    (root / "code.py").write_text("x\n" * DIFF_BYTES + "y\n")
    second = read_code(root)
    assert len(first.diff.encode()) == DIFF_BYTES
    assert first.diff_sha256 != second.diff_sha256


def test_a_folder_without_git_says_so(tmp_path):
    assert read_code(tmp_path).commit == "no git"


def test_a_machine_without_git_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert read_code(tmp_path).commit == "no git"


def test_a_repository_without_a_commit_says_so(tmp_path):
    git(tmp_path, "init", "-q")
    assert read_code(tmp_path).commit == "no commit yet"


def test_data_that_dvc_wrote_has_the_hash_of_dvc_lock(tmp_path):
    (tmp_path / "dvc.lock").write_text(LOCK)
    (tmp_path / "data/software/tokens").mkdir(parents=True)
    lineage = collect_lineage(tmp_path, data=[Path("data/software/tokens")], device="cpu")
    (version,) = lineage.data
    assert version.digest == "123456789e1012345678901234567890.dir"
    assert (version.stage, version.size_bytes) == ("tokenize@software", 2048)


def test_data_that_dvc_does_not_know_is_hashed_here(tmp_path):
    (tmp_path / "rows.jsonl").write_text("{}\n")
    (version,) = collect_lineage(tmp_path, data=[tmp_path / "rows.jsonl"], device="cpu").data
    assert (version.path, version.algorithm, version.size_bytes) == ("rows.jsonl", "sha256", 3)
    assert version.digest == sha256_of(tmp_path / "rows.jsonl")


def test_every_tag_says_something(tmp_path):
    (tmp_path / "requirements.lock").write_text("torch==2.13.0\n")
    lineage = collect_lineage(tmp_path, data=[], device="cuda: NVIDIA H200")
    tags = lineage.tags()
    assert all(tags.values())
    assert tags["lock.sha256"] == sha256_of(tmp_path / "requirements.lock")
    assert tags["hardware.device"] == "cuda: NVIDIA H200"
    assert int(tags["hardware.cores"]) >= 1
    assert tags["package.torch"].startswith("2.")
    assert LINEAGE.tags()["lock.sha256"] == "no requirements.lock"


def test_a_password_on_the_command_line_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["/bin/vertiform", "pretrain", "uri=http://ann:secret@host"])
    command = collect_lineage(tmp_path, data=[], device="cpu").command
    assert command == "vertiform pretrain uri=http://***@host"
