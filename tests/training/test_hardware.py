import logging

import pytest
import torch
from torch import nn

from tests.training.tiny import trainer_with
from vertiform.training import hardware
from vertiform.training.hardware import applied, choose, compile_blocks


@pytest.mark.parametrize(
    ("flags", "precision"),
    [("fpu avx512f avx512_bf16", "32-true"), ("fpu amx_bf16 amx_tile", "bf16-mixed")],
)
def test_bf16_is_chosen_on_processors_with_amx_alone(tmp_path, monkeypatch, flags, precision):
    facts = tmp_path / "cpuinfo"
    facts.write_text(f"processor: 0\nflags\t\t: {flags}\n")
    monkeypatch.setattr(hardware, "CPU_FACTS", facts)
    chosen = choose(trainer_with(precision="auto"))
    assert chosen.precision.value == precision
    assert "AMX" in chosen.precision.reason


def test_what_is_asked_for_is_taken():
    chosen = choose(trainer_with(precision="bf16-mixed", compile="on", threads=3))
    assert [each.value for each in (chosen.precision, chosen.compiles, chosen.threads)] == [
        "bf16-mixed",
        "on",
        "3",
    ]


def test_each_choice_is_said_with_its_reason_and_tf32_only_where_it_is_used(caplog):
    with caplog.at_level(logging.INFO):
        choose(trainer_with(precision="auto", compile="auto", threads=0)).say()
    *choices, utilisation = [record.message for record in caplog.records]
    assert [said.split(":")[0] for said in choices[:3]] == [
        "precision",
        "torch.compile",
        "CPU threads",
    ]
    assert all(said.endswith(").") for said in choices)
    assert "TF32" not in caplog.text
    assert utilisation.startswith("No model FLOPs utilisation is logged: ")


def test_settings_of_torch_are_given_back():
    chosen = choose(trainer_with(threads=1))
    before = torch.get_float32_matmul_precision(), torch.get_num_threads()
    with applied(chosen):
        assert torch.get_num_threads() == 1
    assert (torch.get_float32_matmul_precision(), torch.get_num_threads()) == before


def test_blocks_are_compiled_in_place_and_keep_the_names_of_their_weights():
    def block():
        return nn.ModuleDict({"inner": nn.ModuleList([nn.Linear(2, 2)])})

    network = nn.ModuleDict({"stack": nn.ModuleList([block(), block()]), "head": nn.Linear(2, 2)})
    names = list(network.state_dict())
    assert compile_blocks(network) == 2  # not the one inside each of them
    assert list(network.state_dict()) == names
    assert [name for name, module in network.named_modules() if module._compiled_call_impl] == [
        "stack.0",
        "stack.1",
    ]
