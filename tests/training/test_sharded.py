"""A checkpoint written by some number of processes is read by any other."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from tests.training.processes import together
from vertiform.errors import StorageError, TrainingError
from vertiform.training import sharded
from vertiform.training.distributed import joined, place
from vertiform.training.sharded import copy_of, read_sharded, rows_of, write_sharded


class Small(nn.Module):
    """Rows that two and three processes cannot share evenly, a tied weight, and a lone row."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(7, 4)
        self.blocks = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
        self.head = nn.Linear(4, 7)
        self.head.weight = self.embedding.weight
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, ids: Tensor) -> Tensor:
        hidden = self.embedding(ids)
        for block in self.blocks:
            hidden = hidden + block(hidden).tanh()
        return self.head(hidden) * self.scale


def trained(network: nn.Module, optimizer: torch.optim.Optimizer, *, steps: int) -> None:
    """Descend on the same batch in every process, so that their number changes nothing."""
    ids = torch.arange(7)
    for _ in range(steps):
        nn.functional.cross_entropy(network(ids), ids.flip(0)).backward()
        optimizer.step()
        optimizer.zero_grad()


def shared() -> tuple[nn.Module, torch.optim.Optimizer]:
    """Small, its rows spread over the processes, and its optimiser."""
    network = Small()
    mesh = init_device_mesh("cpu", (place().ranks,))
    for block in network.blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(network, mesh=mesh)
    return network, torch.optim.AdamW(network.parameters(), lr=0.1, fused=True)


def state_now(network: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    return {"weights": network.state_dict(), "moments": optimizer.state_dict()}


def write_after_steps(folder: Path, steps: int) -> None:
    with joined("fsdp", accelerator="cpu"):
        network, optimizer = shared()
        trained(network, optimizer, steps=steps)
        write_sharded(folder, copy_of(state_now(network, optimizer)))


def go_on(folder: Path, out: Path, steps: int) -> int:
    """Read, train on, write; return how many numbers this process read."""
    with joined("fsdp", accelerator="cpu"):
        network, optimizer = shared()
        mesh = init_device_mesh("cpu", (place().ranks,))
        state = read_sharded(folder, mesh=mesh)
        read = [t for t in state["weights"].values() if isinstance(t, DTensor)]
        network.load_state_dict(state["weights"])
        optimizer.load_state_dict(state["moments"])
        trained(network, optimizer, steps=steps)
        write_sharded(out, copy_of(state_now(network, optimizer)))
        return sum(tensor.to_local().numel() for tensor in read)


@pytest.fixture(scope="module")
def alone() -> tuple[nn.Module, torch.optim.Optimizer]:
    """Five steps of the network that is not shared."""
    network = Small()
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.1, fused=True)
    trained(network, optimizer, steps=5)
    return network, optimizer


@pytest.mark.parametrize("ranks", [1, 2, 3, 10])
@pytest.mark.parametrize("rows", [1, 2, 7, 12])
def test_rows_are_cut_as_torch_cuts_them(rows, ranks):
    chunks = [len(chunk) for chunk in torch.arange(rows).chunk(ranks)]
    spans = [rows_of(rank, rows=rows, ranks=ranks) for rank in range(ranks)]
    assert [end - first for first, end in spans] == chunks + [0] * (ranks - len(chunks))


@pytest.mark.parametrize(("written_by", "read_by"), [(2, 1), (1, 2), (2, 3), (3, 2)])
def test_it_opens_on_another_number_of_processes(tmp_path, alone, written_by, read_by):
    together(written_by, write_after_steps, tmp_path / "first", 3)
    read = together(read_by, go_on, tmp_path / "first", tmp_path / "then", 2)
    network, optimizer = alone
    whole = read_sharded(tmp_path / "then", mesh=None)
    for name, weight in network.state_dict().items():
        torch.testing.assert_close(whole["weights"][name], weight)
    moments = optimizer.state_dict()["state"]
    assert whole["moments"]["state"].keys() == moments.keys()
    for number, of_weight in moments.items():
        torch.testing.assert_close(whole["moments"]["state"][number], of_weight)
    # Together they read each number once, a tied weight under both its names.
    assert sum(read) == sum(weight.numel() for weight in network.state_dict().values())
    assert read_by == 1 or max(read) < sum(read)


def test_what_it_holds_is_safetensors_and_json_and_a_sum_of_each(tmp_path):
    together(2, write_after_steps, tmp_path / "written", 1)
    names = {file.name for file in (tmp_path / "written").iterdir()}
    shards = {f"shard-0000{rank}.{kind}" for rank in (0, 1) for kind in ("json", "safetensors")}
    assert names == {"manifest.json", "state.json", "tensors.safetensors"} | shards
    manifest = json.loads((tmp_path / "written" / "manifest.json").read_text())
    assert manifest["sha256"].keys() == names - {"manifest.json"}
    rows = load_file(tmp_path / "written" / "shard-00001.safetensors")
    facts = json.loads((tmp_path / "written" / "shard-00001.json").read_text())
    assert facts["weights/embedding.weight"] == {
        "shape": [7, 4],
        "rows": [4, 7],
        "dtype": "float32",
    }
    assert rows["/weights/embedding.weight"].shape == (3, 4)
    assert list(tmp_path.iterdir()) == [tmp_path / "written"]


def test_a_damaged_shard_is_named(tmp_path):
    together(2, write_after_steps, tmp_path / "written", 1)
    shard = tmp_path / "written" / "shard-00001.safetensors"
    damaged = bytearray(shard.read_bytes())
    damaged[-1] ^= 1
    shard.write_bytes(damaged)
    with pytest.raises(TrainingError, match=r"shard-00001.safetensors is not what was written"):
        read_sharded(tmp_path / "written", mesh=None)


def _write_where_the_second_fails(folder: Path) -> str:
    if place().rank == 1:
        sharded.save_tensors = _no_space
    try:
        write_after_steps(folder, 1)
    except (StorageError, OSError) as error:
        return str(error)
    return "written"


def _no_space(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_when_one_process_cannot_write_all_say_so_and_nothing_is_left(tmp_path):
    said = together(2, _write_where_the_second_fails, tmp_path / "written")
    assert "Process 1" in said[0]
    assert all("No space left on device" in each for each in said)
    assert not list(tmp_path.iterdir())
