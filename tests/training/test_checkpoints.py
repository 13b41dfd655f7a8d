import pytest
import torch

from vertiform.errors import TrainingError
from vertiform.training.checkpoints import (
    RunCheckpoints,
    damage_of,
    fingerprint_of,
    read_checkpoint,
    write_checkpoint,
)

STATE = {
    "weights": {"a": torch.arange(6.0).view(2, 3), "half": torch.ones(2, dtype=torch.bfloat16)},
    "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}, "betas": (0.9, 0.98)},
    "list": [1, 2.5, None, True, "text"],
}


def same(one, other) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other) and one.dtype == other.dtype
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return one == other and type(one) is type(other)


def write_step(run: RunCheckpoints, step: int, *, best_step: int | None) -> None:
    if best_step is not None:
        write_checkpoint(run.best_at_step(best_step), {"weights": {}})
    write_checkpoint(run.at_step(step), {"vertiform": {"step": step, "best_step": best_step}})


def test_a_checkpoint_comes_back_as_it_was(tmp_path):
    write_checkpoint(tmp_path / "step", STATE)
    assert same(read_checkpoint(tmp_path / "step"), STATE)


def test_a_checkpoint_holds_no_pickle(tmp_path):
    write_checkpoint(tmp_path / "step", STATE)
    assert {file.suffix for file in (tmp_path / "step").iterdir()} == {".json", ".safetensors"}


def test_tied_weights_are_stored_once_and_come_back_twice(tmp_path):
    tied = torch.ones(1000, 10)
    write_checkpoint(tmp_path / "step", {"embeddings": tied, "head": tied})
    assert (tmp_path / "step" / "tensors.safetensors").stat().st_size < 50_000
    back = read_checkpoint(tmp_path / "step")
    assert torch.equal(back["embeddings"], tied)
    assert torch.equal(back["head"], tied)


def test_two_views_of_one_memory_stay_two_tensors(tmp_path):
    memory = torch.arange(6.0)
    write_checkpoint(tmp_path / "step", {"first": memory[:3], "second": memory[3:]})
    back = read_checkpoint(tmp_path / "step")
    assert back["first"].tolist() == [0, 1, 2]
    assert back["second"].tolist() == [3, 4, 5]


def test_what_a_checkpoint_cannot_hold_is_a_bug_and_says_where(tmp_path):
    with pytest.raises(TypeError, match="/loader/0 is a set"):
        write_checkpoint(tmp_path / "step", {"loader": [{1}]})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["tensors.safetensors", "state.json", "manifest.json"])
def test_a_cut_or_missing_file_is_damage(tmp_path, name):
    write_checkpoint(tmp_path / "step", STATE)
    file = tmp_path / "step" / name
    assert damage_of(tmp_path / "step") is None
    file.write_bytes(file.read_bytes()[:-5])
    assert damage_of(tmp_path / "step") is not None
    file.unlink()
    assert damage_of(tmp_path / "step") is not None


def test_reading_a_damaged_checkpoint_says_what_to_delete(tmp_path):
    write_checkpoint(tmp_path / "step", STATE)
    (tmp_path / "step" / "state.json").write_text("{}")
    with pytest.raises(TrainingError, match=r"state\.json is not what was written.*\n.*delete"):
        read_checkpoint(tmp_path / "step")


def test_only_the_last_checkpoints_and_the_best_they_need_are_kept(tmp_path):
    run = RunCheckpoints.of(tmp_path, fingerprint="f", keeps_last=2)
    for step, best in [(1, None), (2, 2), (3, 2), (4, 4), (5, 4)]:
        write_step(run, step, best_step=best)
    (run.folder / ".step-00000006.left-by-a-kill").mkdir()
    run.prune()
    names = sorted(path.name for path in run.folder.iterdir())
    assert names == ["best-00000004", "step-00000004", "step-00000005"]


def test_the_newest_whole_checkpoint_is_found(tmp_path):
    run = RunCheckpoints.of(tmp_path, fingerprint="f", keeps_last=2)
    assert run.newest_whole() is None
    for step in (9, 10, 100):
        write_step(run, step, best_step=None)
    (run.at_step(100) / "manifest.json").unlink()
    assert run.newest_whole() == run.at_step(10)


def test_a_fingerprint_tells_configs_and_data_apart_but_not_the_order_of_keys():
    base = fingerprint_of({"lr": 1, "seed": 2}, data_sha256="a")
    assert base == fingerprint_of({"seed": 2, "lr": 1}, data_sha256="a")
    assert base != fingerprint_of({"lr": 1, "seed": 3}, data_sha256="a")
    assert base != fingerprint_of({"lr": 1, "seed": 2}, data_sha256="b")
