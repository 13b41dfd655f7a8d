import os
import subprocess
import sys

import pytest
import torch

from tests.training.tiny import trainer_with
from vertiform.errors import ConfigError
from vertiform.training.trainer import cpu_threads


def test_threads_are_set_inside_the_block_and_given_back():
    before = torch.get_num_threads()
    with cpu_threads(1):
        assert torch.get_num_threads() == 1
    with cpu_threads(0):
        assert torch.get_num_threads() == len(os.sched_getaffinity(0))
    assert torch.get_num_threads() == before


KEEPS = """
import resource
import torch
from vertiform.training.trainer import memory_kept

def faults_of_a_large_block():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(20_000_000)  # 80 MB, 19,500 pages
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

with memory_kept():
    print(sum(faults_of_a_large_block() for _ in range(30)))
"""


def test_kept_memory_is_not_faulted_in_again():
    # In a process of its own: one that was ever refused memory allocates in another way from then.
    faults = subprocess.run([sys.executable, "-c", KEEPS], capture_output=True, check=True).stdout
    # The first few come from fresh memory, until what is freed fits what is asked.
    assert int(faults) < 30 * 19_500 / 3


@pytest.mark.parametrize(
    "name",
    [
        "accumulation",
        "checkpoint_every_steps",
        "keeps_last_checkpoints",
        "log_every_steps",
    ],
)
def test_none_of_what_there_must_be_one_of_is_refused(name):
    with pytest.raises(ConfigError, match=rf"trainer\.{name} is 0, which is less than 1"):
        trainer_with(**{name: 0})


def test_an_unknown_choice_names_the_one_meant():
    with pytest.raises(ConfigError, match=r"`bf16-mix`.*\n.*did you mean `bf16-mixed`"):
        trainer_with(precision="bf16-mix")
    with pytest.raises(ConfigError, match=r"trainer\.accelerator is `tpu`"):
        trainer_with(accelerator="tpu")
    with pytest.raises(ConfigError, match=r"trainer\.strategy is `dpp`.*\n.*did you mean `ddp`"):
        trainer_with(strategy="dpp")
    with pytest.raises(ConfigError, match=r"trainer\.compile is `yes`.*\n.*auto, off, on"):
        trainer_with(compile="yes")


def test_a_step_is_cut_into_one_part_for_each_pass_of_each_process(monkeypatch):
    assert trainer_with(accumulation=4).parts_per_step == 4
    started = {"RANK": "1", "WORLD_SIZE": "6", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}
    for name, value in started.items():
        monkeypatch.setenv(name, value)
    assert trainer_with(strategy="ddp", accumulation=4).parts_per_step == 24
