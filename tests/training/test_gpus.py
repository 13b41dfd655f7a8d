"""What is read of GPUs, shown with a small NVML where there is none."""

import pytest
import torch

from tests.training.nvml import Board, Nvml
from vertiform.training.gpus import gpus_of, uuids_of


def test_a_gpu_tells_its_work_its_memory_its_power_and_its_energy():
    (gpu,) = gpus_of({0: "GPU-a"}, nvml=Nvml({"GPU-a": Board()}))
    assert gpu.points() == {
        "system/gpu_0_fraction": 0.87,
        "system/gpu_0_memory_bytes": 5 * 2**30,
        "system/gpu_0_power_watts": 312.5,
    }
    assert gpu.joules() == 7000


def test_what_a_gpu_does_not_tell_is_left_out_and_not_zero():
    (gpu,) = gpus_of({3: "GPU-old"}, nvml=Nvml({"GPU-old": Board(millijoules=None)}))
    assert gpu.points().keys() == {"system/gpu_3_memory_bytes", "system/gpu_3_power_watts"}
    assert gpu.joules() is None


def test_a_gpu_keeps_the_number_that_torch_gives_it():
    nvml = Nvml({"GPU-a": Board(), "GPU-b": Board(used=1)})
    first, second = gpus_of({0: "GPU-b", 1: "GPU-a"}, nvml=nvml)
    assert first.points()["system/gpu_0_memory_bytes"] == 1
    assert second.points()["system/gpu_1_memory_bytes"] == 5 * 2**30


def test_gpus_that_nvml_does_not_know_are_left_out():
    assert [gpu.number for gpu in gpus_of({0: "x", 1: "y"}, nvml=Nvml({"y": Board()}))] == [1]


def test_without_nvml_there_are_no_gpus():
    assert gpus_of({0: "GPU-a"}, nvml=Nvml({"GPU-a": Board()}, is_there=False)) == []


def test_without_a_gpu_nothing_is_asked():
    assert gpus_of(uuids_of(range(0))) == []
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    assert gpus_of({0: "GPU-a"}) == []  # the real pynvml: it has no driver to speak to


def test_the_gpus_of_this_machine_are_known_to_nvml():
    if not torch.cuda.is_available():
        pytest.skip("PyTorch sees no GPU here")
    (gpu,) = gpus_of(uuids_of(range(1)))
    assert gpu.points()["system/gpu_0_memory_bytes"] > 0
    assert gpu.points()["system/gpu_0_power_watts"] > 0
