from dataclasses import replace

import pytest
import torch

from tests.tasks.small import (
    classification_task,
    entities_task,
    high_or_low,
    ones_and_twos,
    tiny_checkpoint,
)
from tests.training.judges import Scripted
from vertiform.batches.examples import GroupedParams
from vertiform.errors import ConfigError
from vertiform.evaluation import names
from vertiform.files import sha256_of
from vertiform.tasks.bundle import read_bundle
from vertiform.tasks.rows import read_task
from vertiform.training.finetune import Recipe, finetune
from vertiform.training.metrics import MemorySink
from vertiform.training.optimizers import AdamW
from vertiform.training.pruning import Pruned
from vertiform.training.schedules import WarmupLinear
from vertiform.training.starts import Start, load_start
from vertiform.training.trainer import TrainerParams

START = Start(
    weights="domain", pooling="mean", frozen_layers=0, dropout=0.1, lr=3e-3, head_lr=3e-3, epochs=6
)
ADAMW = AdamW(
    lr=1.0, beta1=0.9, beta2=0.98, epsilon=1e-6, weight_decay=0.01, gradient_clip_norm=1.0
)
RECIPE = Recipe(
    max_tokens=32,
    batches=GroupedParams(examples_per_batch=8, batches_per_pool=4),
    optimizer=ADAMW,
    schedule=WarmupLinear(warmup_fraction=0.1, final_lr_fraction=0.02),
    validate_every_epochs=2,
    monitor="val/f1_macro",
    seed=1,
)
CPU = TrainerParams(
    accelerator="cpu",
    strategy="one",
    precision="32-true",
    compile="off",
    accumulation=1,
    threads=1,
    loader_workers=0,
    checkpoint_every_steps=5,
    keeps_last_checkpoints=2,
    log_every_steps=10,
    system_every_seconds=10,
    country_iso_code=None,
)

MONITORS = {"classification": "val/f1_macro", "entities": "val/entity_f1"}


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    return tiny_checkpoint(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def area(tmp_path_factory):
    return read_task(classification_task(tmp_path_factory.mktemp("tasks") / "area"))


def run(data, pretrained, out, **changes):
    return finetune(
        data,
        **{
            "name": "domain",
            "start": START,
            "recipe": RECIPE,
            "pretrained": pretrained,
            "out": out,
            "checkpoints": None,
            "fingerprint": "run",
            "trainer": CPU,
            "sink": MemorySink(),
            **changes,
        },
    )


@pytest.fixture(scope="module")
def learned(area, pretrained, tmp_path_factory):
    """A finished run, and what it sent to its sink."""
    sink = MemorySink()
    return run(area, pretrained, tmp_path_factory.mktemp("run") / "out", sink=sink), sink


def test_a_classification_is_learned_and_written(learned):
    result, sink = learned
    assert result.metrics[names.VAL_F1_MACRO] > 0.8
    assert len(sink.of(names.VAL_F1_MACRO)) == 3  # six epochs, validated every two
    facts = read_bundle(result.bundle).facts
    assert (facts.task, facts.labels, facts.start) == ("area", ("high", "low"), "domain")
    assert facts.temperature == result.temperature
    assert facts.validation == result.metrics


def test_it_logs_what_every_run_logs(learned):
    result, sink = learned
    steps = [*range(10, result.fit.steps, 10), result.fit.steps]
    for name in (
        names.TRAIN_LOSS_NATS,
        names.LEARNING_RATE,
        names.GRADIENT_NORM,
        names.TOKENS_PER_SECOND,
    ):
        assert list(sink.of(name)) == steps, name
    assert list(sink.of(names.SYSTEM_CPU_FRACTION))[-1] == result.fit.steps
    assert sink.of(names.ENERGY_KILOWATT_HOURS).keys() == sink.of(names.VAL_F1_MACRO).keys()
    assert len(sink.texts) == 2 * 3  # samples for programs and for people, of three validations


def test_the_best_weights_are_kept_and_not_the_last(learned):
    result, sink = learned
    assert result.fit.best_metrics[names.VAL_F1_MACRO] == max(sink.of(names.VAL_F1_MACRO).values())


def test_a_judge_ends_a_fine_tuning_that_then_leaves_no_model(area, pretrained, tmp_path):
    sink, recipe = MemorySink(), replace(RECIPE, validate_every_epochs=1)
    judge = Scripted(prunes_at=range(1000))
    with pytest.raises(Pruned) as pruned:
        run(area, pretrained, tmp_path / "out", judge=judge, sink=sink, recipe=recipe)
    assert list(sink.of(names.VAL_F1_MACRO)) == [pruned.value.step] == list(judge.heard)
    assert not (tmp_path / "out").exists()


def test_confidences_are_calibrated(learned):
    result, _ = learned
    assert result.temperature != 1.0
    after = result.metrics[names.on("validation", names.CALIBRATION_ERROR)]
    assert after != result.calibration_error_before


def test_entities_are_learned_and_written(pretrained, tmp_path):
    data = read_task(entities_task(tmp_path / "names"))
    recipe = replace(RECIPE, monitor="val/entity_f1", validate_every_epochs=8)
    result = run(data, pretrained, tmp_path / "out", recipe=recipe, start=replace(START, epochs=8))
    # Nothing is found at first; the types are known by their words long before their ends are.
    assert result.metrics[names.VAL_ENTITY_F1] > 0.5


def test_equal_runs_write_equal_bytes(area, pretrained, tmp_path):
    start = replace(START, epochs=1)
    recipe = replace(RECIPE, validate_every_epochs=1)
    for name in ("first", "second"):
        run(area, pretrained, tmp_path / name, start=start, recipe=recipe)
        torch.rand(7)  # what was drawn in between changes nothing
    assert sha256_of(tmp_path / "first") == sha256_of(tmp_path / "second")
    run(area, pretrained, tmp_path / "third", start=start, recipe=replace(recipe, seed=2))
    assert sha256_of(tmp_path / "first") != sha256_of(tmp_path / "third")


class KillsAt(MemorySink):
    """Ends the run at a step."""

    def __init__(self, step):
        super().__init__()
        self.step = step

    def log_points(self, points, *, step):
        if step == self.step:
            raise KeyError("killed")
        super().log_points(points, step=step)


def test_a_killed_run_goes_on_to_the_same_bytes(area, pretrained, tmp_path):
    start, recipe = replace(START, epochs=3), replace(RECIPE, validate_every_epochs=1)
    run(area, pretrained, tmp_path / "whole", start=start, recipe=recipe)
    changes = {"start": start, "recipe": recipe, "checkpoints": tmp_path / "checkpoints"}
    with pytest.raises(KeyError, match="killed"):
        run(area, pretrained, tmp_path / "killed", sink=KillsAt(20), **changes)
    assert not (tmp_path / "killed").exists()
    result = run(area, pretrained, tmp_path / "killed", **changes)
    assert result.fit.resumed_from_step == 15  # saved every five steps, killed at the twentieth
    assert sha256_of(tmp_path / "whole") == sha256_of(tmp_path / "killed")


@pytest.mark.parametrize("task", ["classification", "entities"])
def test_a_step_in_parts_descends_the_same_loss(pretrained, tmp_path, task):
    """12 steps an epoch of 8 examples, and a last one of 3: fewer than the parts."""
    write = {"classification": classification_task, "entities": entities_task}[task]
    rows = {"classification": high_or_low, "entities": ones_and_twos}[task](99, seed=0)
    data = read_task(write(tmp_path / task, train=rows))
    curves = []
    for accumulation in (1, 2, 4):
        sink = MemorySink()
        run(
            data,
            pretrained,
            tmp_path / str(accumulation),
            # Dropout is drawn for each part anew.
            start=replace(START, epochs=2, dropout=0.0),
            recipe=replace(RECIPE, monitor=MONITORS[task]),
            trainer=replace(CPU, accumulation=accumulation, log_every_steps=1),
            sink=sink,
        )
        curves.append(sink.of(names.TRAIN_LOSS_NATS))
    whole, *in_parts = curves
    assert list(whole) == list(range(1, 27))
    for curve in in_parts:
        # Sums in another order; Adam makes the most of it where a gradient is nearly 0.
        assert curve == pytest.approx(whole, rel=1e-4)


def test_frozen_layers_end_as_they_began(area, pretrained, tmp_path):
    start = replace(START, frozen_layers=2, epochs=1)
    result = run(area, pretrained, tmp_path / "out", start=start)
    assert 0 < result.trained_parameters < result.parameters
    before, _ = load_start(START, pretrained=pretrained)
    after = read_bundle(result.bundle).network.encoder.state_dict()
    for name, value in before.state_dict().items():
        is_frozen = name.startswith(("embeddings.", "encoder.layer.0."))
        assert torch.equal(value, after[name]) == is_frozen, name


def test_new_weights_have_the_size_of_the_pretrained_ones_and_nothing_else(pretrained):
    torch.manual_seed(99)
    new, _ = load_start(replace(START, weights="new"), pretrained=pretrained)
    old, _ = load_start(START, pretrained=pretrained)
    assert {n: v.shape for n, v in new.state_dict().items()} == {
        n: v.shape for n, v in old.state_dict().items()
    }
    assert not torch.equal(new.get_input_embeddings().weight, old.get_input_embeddings().weight)


def test_a_monitor_that_is_no_score_of_the_task_is_answered_with_the_nearest(
    area, pretrained, tmp_path
):
    with pytest.raises(ConfigError, match=r"did you mean `val/f1_macro`"):
        run(area, pretrained, tmp_path / "out", recipe=replace(RECIPE, monitor="val/f1_marco"))
    assert not (tmp_path / "out").exists()


def test_texts_longer_than_the_encoder_reads_are_cut_to_what_it_reads(area, pretrained, tmp_path):
    start = replace(START, epochs=1)
    result = run(
        area, pretrained, tmp_path / "out", start=start, recipe=replace(RECIPE, max_tokens=999)
    )
    assert read_bundle(result.bundle).facts.max_tokens == 32


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"lr": 0.0}, {"head_lr": 0.0}, {"dropout": 1.0}])
def test_a_start_that_cannot_be_trained_is_refused(wrong):
    with pytest.raises(ConfigError, match=r"cannot be trained"):
        replace(START, **wrong)


def test_fine_tuning_in_many_processes_is_refused(area, pretrained, tmp_path):
    with pytest.raises(ConfigError, match=r"strategy is ddp.*one process.*\n.*trainer=cpu"):
        run(area, pretrained, tmp_path / "out", trainer=replace(CPU, strategy="ddp"))
