"""A rebuild's folder, with real git and DVC. What it cannot do it says, and how to mend it."""

from pathlib import Path

import pytest

from tests.tracking.records import command, commit, project_with_data, record_of, recorded_run
from vertiform.errors import TrackingError
from vertiform.tracking import lineage
from vertiform.tracking.lineage import read_code
from vertiform.tracking.recorded import dvc_digest
from vertiform.tracking.scratch import Scratch, make_scratch

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A project whose data/notes was made from its first commit."""
    return project_with_data(tmp_path_factory.mktemp("project") / "work")


@pytest.fixture
def project(made, tmp_path) -> Path:
    """A clone of the test's own, with the data that the other made in its cache."""
    command(tmp_path, "git", "clone", "-q", str(made), "own")
    folder = tmp_path / "own"
    config = f"[cache]\n    dir = {made / '.dvc/cache'}\n"
    (folder / ".dvc" / "config.local").write_text(config)
    return folder


@pytest.fixture
def into(tmp_path) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


def notes(made: Path, **values) -> dict[str, dict]:
    """The entry of lineage.json for data/notes."""
    digest = dvc_digest(made / "data/notes")
    entry = {"path": "data/notes", "digest": digest, "algorithm": "md5", "stage": "label"}
    return {"data/notes": entry | values}


def cache_files(made: Path) -> list[Path]:
    return sorted((made / ".dvc/cache").rglob("*"))


def test_the_recorded_commit_comes_back_though_the_project_moved_on(project, into):
    then = record_of(project)
    (project / "code.py").write_text("print('two')\n")
    commit(project)
    scratch = make_scratch(project, then, into=into)
    assert (scratch.folder / "code.py").read_text() == "print('one')\n"
    assert not read_code(scratch.folder).is_dirty


def test_a_commit_that_no_branch_reaches_any_more_comes_back(project, into):
    (project / "code.py").write_text("print('amended away')\n")
    commit(project)
    then = record_of(project)
    command(project, "git", "reset", "-q", "--hard", "HEAD~1")
    scratch = make_scratch(project, then, into=into)
    assert "amended away" in (scratch.folder / "code.py").read_text()


def test_uncommitted_changes_and_new_files_come_back_with_the_hash_they_had(project, into):
    (project / "code.py").write_text("print('not committed')\n")
    (project / "new.py").write_text("print('new')\n")
    then = record_of(project)
    command(project, "git", "checkout", "-q", "code.py")
    scratch = make_scratch(project, then, into=into)
    assert then.lineage["code"]["diff_sha256"]
    assert read_code(scratch.folder).diff_sha256 == then.lineage["code"]["diff_sha256"]


def test_a_project_in_a_folder_of_its_repository_is_rebuilt_there(tmp_path, into):
    inner = project_with_data(tmp_path / "whole" / "inner")
    command(inner, "rm", "-rf", ".git")
    command(inner.parent, "git", "init", "-q")
    command(inner, "dvc", "init", "-q", "--force", "--subdir")
    commit(inner.parent)
    scratch = make_scratch(inner, record_of(inner), into=into)
    assert scratch.folder == into / "clone" / "inner"
    assert (scratch.folder / "dvc.yaml").is_file()


def test_data_comes_from_the_cache_by_its_hash_and_the_cache_stays_as_it_was(made, project, into):
    before = cache_files(made)
    scratch = make_scratch(project, record_of(project), into=into)
    scratch.take_data(notes(made))
    assert (scratch.folder / "data/notes/text").read_text() == "print('one')\n"
    assert cache_files(made) == before


def test_data_made_from_the_raw_text_is_not_put_into_the_cache(made, project, into):
    (project / "code.py").write_text("print('other data')\n")
    commit(project)
    before = cache_files(made)
    scratch = make_scratch(project, record_of(project), into=into)
    scratch.make_data(["label"])
    assert "other data" in (scratch.folder / "data/notes/text").read_text()
    assert cache_files(made) == before


def test_a_stage_runs_even_if_the_cache_knows_what_it_would_leave(made, project, into):
    """DVC would take both the output and the run itself from its cache."""
    scratch = make_scratch(project, record_of(project), into=into)
    dvc_yaml = scratch.folder / "dvc.yaml"
    dvc_yaml.write_text(dvc_yaml.read_text().replace("&& cp", "&& touch it-ran && cp"))
    scratch.run_stage("label")
    assert (scratch.folder / "it-ran").exists()


def test_a_commit_that_is_not_known_here_asks_for_a_fetch(project, into):
    with pytest.raises(TrackingError, match=r"c0ffee000000 .*not known here.*\n.*git fetch"):
        make_scratch(project, recorded_run(), into=into)


@pytest.mark.parametrize("state", ["no git", "no commit yet"])
def test_a_run_without_a_commit_cannot_be_rebuilt(project, into, state):
    code = {"commit": state, "branch": state, "diff_sha256": ""}
    with pytest.raises(TrackingError, match=rf"trained with {state}.*\n.*commit the project"):
        make_scratch(project, record_of(project, code=code), into=into)


def test_changes_that_were_too_long_to_be_kept_cannot_be_rebuilt(project, into, monkeypatch):
    monkeypatch.setattr(lineage, "DIFF_BYTES", 50)
    (project / "code.py").write_text("print('a longer line than is kept of it')\n")
    with pytest.raises(TrackingError, match=r"50 bytes were kept\s+and not all.*\n.*commit the"):
        make_scratch(project, record_of(project), into=into)


def test_changes_of_a_binary_file_cannot_be_rebuilt(project, into):
    (project / "code.py").write_bytes(bytes(range(256)))
    with pytest.raises(TrackingError, match=r"cannot be applied to their commit.*\n.*binary"):
        make_scratch(project, record_of(project), into=into)


def test_a_file_outside_git_that_has_changed_since_cannot_be_rebuilt(project, into):
    (project / "new.py").write_text("print('then')\n")
    then = record_of(project)
    (project / "new.py").write_text("print('now')\n")
    with pytest.raises(TrackingError, match=r"file new.py, which was not in git.*\n.*put the file"):
        make_scratch(project, then, into=into)


def test_data_that_the_cache_does_not_hold_asks_for_a_pull(made, project, into):
    scratch = make_scratch(project, record_of(project), into=into)
    gone = notes(made, digest="ab" * 16 + ".dir")
    with pytest.raises(TrackingError, match=r"data/notes \(abab.*\n.*dvc pull.*--from-raw"):
        scratch.take_data(gone)


@pytest.mark.parametrize(("path", "state"), [("gone.txt", "is not there"), ("code.py", "differs")])
def test_a_file_that_dvc_does_not_know_must_come_with_the_commit(project, into, path, state):
    scratch = make_scratch(project, record_of(project), into=into)
    with pytest.raises(TrackingError, match=rf"{path}.* {state} .*\n.*git or DVC"):
        scratch.check_plain_files([{"path": path, "digest": "00" * 32}])


def test_a_stage_that_fails_says_where_to_look(project, into):
    scratch = make_scratch(project, record_of(project), into=into)
    with pytest.raises(TrackingError, match=r"broken of the recorded commit.*\n.*--keep"):
        scratch.run_stage("broken")


def test_without_a_bootstrap_script_there_is_no_fresh_environment(project, into):
    scratch = make_scratch(project, record_of(project), into=into)
    with pytest.raises(TrackingError, match=r"no scripts/bootstrap.py.*\n.*leave out"):
        scratch.build_environment()


def test_an_environment_that_cannot_be_built_says_so(project, into):
    (project / "scripts").mkdir()
    (project / "scripts/bootstrap.py").write_text("raise SystemExit(2)\n")
    commit(project)
    scratch = make_scratch(project, record_of(project), into=into)
    with pytest.raises(TrackingError, match=r"could not be built.*\n.*network"):
        scratch.build_environment()


def test_a_fresh_environment_is_where_the_stages_run(project, into):
    (project / "scripts").mkdir()
    (project / "scripts/bootstrap.py").write_text("print('built')\n")
    commit(project)
    scratch = make_scratch(project, record_of(project), into=into)
    fresh = scratch.build_environment()
    assert fresh == Scratch(scratch.folder, project, scratch.folder / ".venv" / "bin")


def test_a_folder_that_is_no_dvc_project_says_so(tmp_path, into):
    command(tmp_path, "git", "init", "-q", "plain")
    (tmp_path / "plain" / "file").write_text("text")
    commit(tmp_path / "plain")
    with pytest.raises(TrackingError, match=r"not a DVC project.*\n.*root of the project"):
        make_scratch(tmp_path / "plain", record_of(tmp_path / "plain"), into=into)


def test_a_folder_without_git_says_so(project, into, monkeypatch):
    then = record_of(project)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(TrackingError, match=r"no git on this machine.*\n.*install"):
        make_scratch(project, then, into=into)
