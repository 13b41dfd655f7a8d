"""What a sweep compares its trials by: names, directions, and values of a real small model."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from tests.tasks.small import classification_task, entities_task, tiny_checkpoint
from tests.training.test_finetune import MONITORS, RECIPE, START
from tests.training.tiny import CPU, pretrain_tiny
from vertiform.cli.objectives import Objectives
from vertiform.errors import ConfigError
from vertiform.evaluation import names
from vertiform.tasks.rows import TaskData, read_task
from vertiform.training.finetune import finetune
from vertiform.training.metrics import NoSink

FINETUNE = {"monitor": names.VAL_F1_MACRO, "trainer": {"threads": 1}}
PRETRAIN = {"monitor": names.VAL_LOSS_NATS, "trainer": {"threads": 1}}


@dataclass(frozen=True)
class Trained:
    metrics: dict[str, float]
    model: Path


@dataclass(frozen=True)
class Door:
    data: TaskData

    def validation_rows(self):
        return self.data.splits["validation"]


@pytest.fixture(scope="module", params=["classification", "entities"])
def tuned(request, tmp_path_factory) -> tuple[Trained, Door, dict]:
    """A small fine-tuned model, the door that knows its rows, and its configuration."""
    folder = tmp_path_factory.mktemp(request.param)
    write = {"classification": classification_task, "entities": entities_task}[request.param]
    data, monitor = read_task(write(folder / "task")), MONITORS[request.param]
    result = finetune(
        data,
        name="domain",
        start=replace(START, epochs=1),
        recipe=replace(RECIPE, monitor=monitor, validate_every_epochs=1),
        pretrained=tiny_checkpoint(folder / "tiny"),
        out=folder / "model",
        checkpoints=None,
        fingerprint="run",
        trainer=CPU,
        sink=NoSink(),
    )
    config = {"monitor": monitor, "trainer": {"threads": 1}}
    return Trained(result.metrics, result.bundle), Door(data), config


def test_each_word_is_a_metric_with_its_direction():
    objectives = Objectives.of(["size", "quality", "latency"], door="finetune", config=FINETUNE)
    assert objectives.names == (
        names.WEIGHTS_MEGABYTES,
        names.VAL_F1_MACRO,
        names.REQUEST_P95_MILLISECONDS,
    )
    assert objectives.directions == ["minimize", "maximize", "minimize"]


def test_quality_is_the_monitor_and_less_loss_is_better():
    objectives = Objectives.of(["quality"], door="pretrain", config=PRETRAIN)
    assert (objectives.names, objectives.directions) == ((names.VAL_LOSS_NATS,), ["minimize"])


def test_a_fine_tuned_model_has_all_three(tuned):
    trained, door, config = tuned
    objectives = Objectives.of(["quality", "latency", "size"], door="finetune", config=config)
    threads = torch.get_num_threads()
    quality, latency, size = objectives.values_of(trained, door=door, config=config)
    assert quality == trained.metrics[config["monitor"]]
    assert 0.1 < latency < 1000  # milliseconds of a network of 2 x 32
    parts = [trained.model / name for name in ("model.safetensors", "head.safetensors")]
    assert size == sum(path.stat().st_size for path in parts) / 1e6
    assert torch.get_num_threads() == threads


def test_a_pretrained_model_has_a_quality_and_a_size(tmp_path):
    result = pretrain_tiny(tmp_path)
    objectives = Objectives.of(["quality", "size"], door="pretrain", config=PRETRAIN)
    trained = Trained(result.metrics, result.out)
    quality, size = objectives.values_of(trained, door=None, config=PRETRAIN)
    assert quality == result.metrics[names.VAL_LOSS_NATS]
    # float32; half a megabyte is more than this network has
    assert size == pytest.approx(4 * result.parameters / 1e6, abs=0.1)


@pytest.mark.parametrize(
    ("asked", "door", "message"),
    [
        (["qualty"], "finetune", r"`qualty`.*\n.*`quality`"),
        (["size", "quality", "size"], "finetune", r"size twice.*\n.*once"),
        (["quality", "latency"], "pretrain", r"no latency.*\n.*objectives=\[quality,size\]"),
        ([], "finetune", r"no list.*\n.*objectives=\[quality\]"),
        ("quality", "finetune", r"`quality`, which is no list.*\n.*objectives=\[quality\]"),
    ],
)
def test_what_is_no_objective_is_refused_with_a_fix(asked, door, message):
    with pytest.raises(ConfigError, match=message):
        Objectives.of(asked, door=door, config=FINETUNE)
