"""How Lightning trains a network on one device, on copies of it, or on shares of its rows."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from lightning.fabric.plugins.environments import (
    ClusterEnvironment,
    LightningEnvironment,
    TorchElasticEnvironment,
)
from lightning.pytorch.strategies import DDPStrategy, Strategy
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from vertiform.training.hardware import blocks_of
from vertiform.training.sharded import read_sharded, rows_of, spread


def strategy_of(name: str) -> Strategy | str:
    """Lightning's strategy for trainer.strategy; for "ddp" and "fsdp" inside distributed.joined."""
    if name == "ddp":
        return DDPStrategy(
            broadcast_buffers=False,  # constant here, and a wait at every forward
            gradient_as_bucket_view=True,  # no second copy of the gradient
        )
    return ShardedStrategy() if name == "fsdp" else "auto"


def environment_of(name: str) -> ClusterEnvironment:
    """What tells Lightning the place of this process; never one that starts others.

    For one process it is given too: inside SLURM, Lightning would choose its own, which puts jobs
    back in the queue and handles signals by itself.
    """
    return LightningEnvironment() if name == "one" else TorchElasticEnvironment()


class ShardedStrategy(DDPStrategy):
    """FSDP2: each process keeps a share of the rows of every weight, gradient and moment.

    A block's weights are gathered for its forward and its backward and dropped in between. What is
    outside of blocks (embeddings, head) is gathered for the whole of a training step, which runs
    within the forward of the root, so that an objective may use a weight as it is.

    Lightning's own ModelParallelStrategy asks every LightningModule to shard itself, and writes
    pickled checkpoints; what it does beyond that, DDPStrategy does.
    """

    _mesh: DeviceMesh

    @property
    def restore_checkpoint_after_setup(self) -> bool:
        """A checkpoint is read into shares, which setup makes."""
        return True

    def configure_ddp(self) -> None:
        """Cut the weights, which are on this process's device, into shares."""
        module = self.lightning_module
        assert module is not None
        for tensor in [*module.parameters(), *module.buffers()]:
            dist.broadcast(tensor.data, src=0)  # all start from the first one's weights
        self._mesh = init_device_mesh(self.root_device.type, (self.world_size,))
        for block in blocks_of(module):
            fully_shard(block, mesh=self._mesh)
        root = _Root(module)
        fully_shard(root, mesh=self._mesh)
        self.model = root

    def save_checkpoint(
        self, checkpoint: dict[str, Any], filepath: Any, storage_options: Any = None
    ) -> None:
        """Have every process write its part; Lightning would ask the first one alone."""
        self.checkpoint_io.save_checkpoint(checkpoint, filepath)

    def load_checkpoint(
        self, checkpoint_path: Any, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read this process's rows of a checkpoint, whichever number of processes wrote it."""
        return read_sharded(Path(checkpoint_path), mesh=self._mesh)

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        """Take over the weights."""
        module = self.lightning_module
        assert module is not None
        weights = checkpoint["state_dict"]
        own = module.state_dict()
        module.load_state_dict({n: _like(own.get(n), w) for n, w in weights.items()}, strict=strict)

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        """Take over the optimiser's moments."""
        for optimizer, state in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            weights = [weight for group in optimizer.param_groups for weight in group["params"]]
            moments = {
                number: {name: _like(weights[number], value) for name, value in of_weight.items()}
                for number, of_weight in state["state"].items()
            }
            optimizer.load_state_dict({**state, "state": moments})

    def teardown(self) -> None:
        """End, and leave the shares where they are; a checkpoint gives the whole weights."""
        assert self.accelerator is not None
        assert self.cluster_environment is not None
        self.cluster_environment.teardown()
        self.precision_plugin.teardown()
        self.accelerator.teardown()


class _Root(nn.Module):
    """Around a LightningModule, so that its class stays what it is: sharding changes the class."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the step that Lightning has put in the place of the module's forward."""
        return self.module(*args, **kwargs)


def _like(own: Any, value: Any) -> Any:
    """Spread `value` as `own` is, if it was written whole, by a run that was not sharded."""
    is_whole = isinstance(value, Tensor) and not isinstance(value, DTensor)
    if not (is_whole and isinstance(own, DTensor) and value.shape == own.shape):
        return value
    mesh = own.device_mesh
    first, end = rows_of(mesh.get_local_rank(), rows=own.shape[0], ranks=mesh.size())
    return spread(value[first:end].clone(), shape=torch.Size(own.shape), mesh=mesh)
