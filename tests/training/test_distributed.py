"""Several processes of one run learn what one would, stop together, and go on in any number."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.training.processes import Together, together
from tests.training.tiny import MLM, pretrain_tiny, trainer_with
from vertiform.errors import ConfigError
from vertiform.evaluation import names
from vertiform.training.distributed import (
    ALONE,
    Place,
    _set_addresses,
    check_same,
    check_strategy,
    is_first_rank,
    joined,
    place,
)
from vertiform.training.loop import EXIT_TERMINATED
from vertiform.training.metrics import MemorySink

READ: list[torch.Tensor] = []  # what this process was given to read in training


class Recording:
    """Masked language modelling that keeps what it reads in training."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # what deepcopy looks for
            raise AttributeError(name)
        return getattr(MLM, name)

    def losses(self, network: Any, batch: Any) -> Any:
        if network.training:
            READ.append(batch.input_ids.clone())
        return MLM.losses(network, batch)


def run(folder: Path, name: str, strategy: str, accumulation: int = 1) -> dict[str, Any]:
    """Pretrain in this process; say what it read, what it was given to log, and where it began."""
    READ.clear()
    sink = MemorySink()
    result = pretrain_tiny(
        folder,
        name,
        objective=Recording(),
        sink=sink,
        trainer=trainer_with(strategy=strategy, accumulation=accumulation),
    )
    curves = {
        name: sink.of(name)
        for name in (
            names.TRAIN_NATS_PER_TOKEN,
            names.VAL_NATS_PER_TOKEN,
            names.GRADIENT_NORM,
            names.LEARNING_RATE,
        )
    }
    return {
        "read": [batch.tolist() for batch in READ],
        "curves": curves,
        "points": len(sink.points),
        "resumed_from": result.fit.resumed_from_step,
    }


def weights_of(folder: Path, name: str) -> dict[str, torch.Tensor]:
    return load_file(folder / name / "model.safetensors")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("distributed")


@pytest.fixture(scope="module")
def alone(folder) -> dict[str, Any]:
    """One process that reads each step in two passes."""
    return run(folder, "alone", "one", 2)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_processes_learn_what_one_does_in_two_passes(folder, alone, strategy):
    first, second = together(2, run, folder, strategy, strategy)
    # Step s is passes 2 s and 2 s + 1 of one process, and pass s of the first and of the second.
    assert first["read"] == alone["read"][0::2]
    assert second["read"] == alone["read"][1::2]
    for name, points in alone["curves"].items():
        # Sums of float32 in another order: some 1e-7 a step.
        assert first["curves"][name] == pytest.approx(points, rel=1e-4), name
    mine, other = weights_of(folder, strategy), weights_of(folder, "alone")
    assert mine.keys() == other.keys()
    for name in mine:
        torch.testing.assert_close(mine[name], other[name], rtol=1e-4, atol=1e-5)
    assert second["points"] == 0  # only the first process speaks


def kill_at(folder: Path, name: str, strategy: str, *, step: int) -> None:
    """Start a run of two processes, and kill both once a checkpoint of `step` or later is there."""
    running = Together(2, run, folder, name, strategy)
    checkpoints = folder / "checkpoints" / name
    while not any(int(p.name.split("-")[1]) >= step for p in checkpoints.glob("step-*")):
        assert all(process.is_alive() for process in running.processes)
        time.sleep(0.001)
    running.kill()
    assert running.exit_codes() == [-signal.SIGKILL] * 2, "it ended before its kill: no test"
    assert not (folder / name).exists()


@pytest.mark.slow
def test_killed_copies_go_on_to_the_same_bits(folder, alone):
    kill_at(folder, "killed", "ddp", step=8)
    resumed = {each["resumed_from"] for each in together(2, run, folder, "killed", "ddp")}
    assert resumed <= {8, 10, 12, 16, 20, 24}
    assert len(resumed) == 1
    together(2, run, folder, "never-killed", "ddp")
    mine, other = weights_of(folder, "killed"), weights_of(folder, "never-killed")
    assert all(torch.equal(mine[name], other[name]) for name in other)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_one_process_goes_on_from_two_and_two_from_one(folder, alone, strategy):
    kill_at(folder, f"{strategy}-to-one", strategy, step=8)
    assert run(folder, f"{strategy}-to-one", "one", 2)["resumed_from"] >= 8
    running = Together(1, run, folder, f"one-to-{strategy}", "one", 2)
    while not list((folder / "checkpoints" / f"one-to-{strategy}").glob("step-*")):
        time.sleep(0.001)
    running.kill()
    two = together(2, run, folder, f"one-to-{strategy}", strategy)
    assert all(each["resumed_from"] >= 4 for each in two)
    for name in (f"{strategy}-to-one", f"one-to-{strategy}"):
        mine, other = weights_of(folder, name), weights_of(folder, "alone")
        for key in other:
            torch.testing.assert_close(mine[key], other[key], rtol=1e-4, atol=1e-5)


class SignallingSink(MemorySink):
    """Sends SIGTERM to the other process of the run, and to it alone, at step 6."""

    def log_points(self, points, *, step):
        super().log_points(points, step=step)
        if step == 6:
            other = int(Path(os.environ["OTHER_FILE"]).read_text())
            os.kill(other, signal.SIGTERM)


def _run_until_signalled(folder: Path, name: str, strategy: str) -> None:
    os.environ["OTHER_FILE"] = str(folder / f"{name}.pid")
    if not is_first_rank():
        Path(os.environ["OTHER_FILE"]).write_text(str(os.getpid()))
    pretrain_tiny(folder, name, sink=SignallingSink(), trainer=trainer_with(strategy=strategy))


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_sigterm_to_one_process_saves_and_ends_them_all(folder, alone, strategy):
    name = f"terminated-{strategy}"
    running = Together(2, _run_until_signalled, folder, name, strategy)
    assert running.exit_codes() == [EXIT_TERMINATED] * 2
    saved = max((folder / "checkpoints" / name).glob("step-*"))
    assert saved.name in {"step-00000006", "step-00000007", "step-00000008"}
    if strategy == "ddp":
        first, _ = together(2, run, folder, name, strategy)
        assert first["resumed_from"] == int(saved.name.split("-")[1])
        mine, other = weights_of(folder, name), weights_of(folder, "alone")
        for key in other:
            torch.testing.assert_close(mine[key], other[key], rtol=1e-4, atol=1e-5)


def test_a_strategy_for_many_without_a_launcher_gives_the_line_to_start_it(folder):
    with pytest.raises(
        ConfigError, match=r"no launcher started.*\n.*torchrun --nproc-per-node 2 -m vertiform"
    ):
        run(folder, "unlaunched", "ddp")


def test_many_processes_of_a_run_for_one_are_refused(monkeypatch):
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "4")
    monkeypatch.setenv("SLURM_STEP_NUM_NODES", "2")
    monkeypatch.setenv("SLURM_PROCID", "3")
    monkeypatch.setenv("SLURM_LOCALID", "1")
    assert place() == Place(rank=3, ranks=4, local_rank=1, local_ranks=2)
    with pytest.raises(ConfigError, match=r"4 processes were started.*one(.|\n)*trainer=ddp"):
        check_strategy("one", accelerator="cpu")
    check_strategy("ddp", accelerator="cpu")


def test_machines_with_unlike_numbers_of_processes_are_refused(monkeypatch):
    started = {"RANK": "0", "WORLD_SIZE": "5", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2"}
    for name, value in started.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=r"same number on each machine.*\n.*ntasks-per-node"):
        check_strategy("fsdp", accelerator="cpu")


def test_more_processes_than_gpus_are_refused(monkeypatch):
    here = torch.cuda.device_count() + 1
    started = {"RANK": 0, "WORLD_SIZE": here, "LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": here}
    for name, value in started.items():
        monkeypatch.setenv(name, str(value))
    with pytest.raises(ConfigError, match=rf"{here - 1} GPUs; each needs its own.*\n.*SLURM"):
        check_strategy("ddp", accelerator="gpu")


def test_sruns_words_become_torchruns():
    environment = {"SLURM_STEP_NODELIST": "gpu[07-09],gpu12", "SLURM_JOB_ID": "1234567"}
    _set_addresses(environment, Place(rank=3, ranks=8, local_rank=1, local_ranks=2))
    assert environment["MASTER_ADDR"] == "gpu07"
    assert environment["MASTER_PORT"] == "19567"
    assert environment["RANK"] == "3"
    assert environment["GROUP_RANK"] == "1"


def test_alone_there_is_nothing_to_meet():
    assert place() == ALONE
    assert is_first_rank()
    with joined("one", accelerator="cpu") as own:
        assert own == ALONE
        assert not torch.distributed.is_initialized()


def _tell_another(what: str) -> str:
    with joined("ddp", accelerator="cpu"):
        try:
            check_same(f"{what} {place().rank}", what="configuration")
        except ConfigError as error:
            return str(error)
    return "the same"


def test_processes_that_were_told_different_things_are_refused():
    for said in together(2, _tell_another, "told"):
        assert "differ in their configuration: told 0, told 1" in said
