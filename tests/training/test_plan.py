from dataclasses import replace

import pytest
import torch

from tests.builders import tiny_tokens
from tests.training.test_resume import DyingSink, Killed, assert_same_end
from tests.training.tiny import CPU, MLM, PACKED, RECIPE, pretrain_tiny, trainer_with
from vertiform.batches.loading import BatchRange
from vertiform.errors import ConfigError
from vertiform.files import read_json, sha256_of
from vertiform.training import timing
from vertiform.training.budget import Budget
from vertiform.training.plan import plan
from vertiform.training.workload import Recipe, Text, build_workload


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plan")
    tiny_tokens(folder / "tokens")
    return folder


def text_in(folder):
    return Text(domain="tiny", tokens=folder / "tokens")


def planned(folder, *, trainer=CPU, **changes):
    return plan(Recipe(**{**RECIPE, **changes}), text_in(folder), start=None, trainer=trainer)


def flops_of_all_steps(folder, recipe, *, steps):
    """Each step's, by the batches that a run reads."""
    workload = build_workload(recipe, text_in(folder), start=None)
    count = recipe.objective.step_flops(workload.network)
    train = workload.training(parts=1, steps=steps)
    return sum(count(batch) for batch in BatchRange(batches=train, first=0, last=steps, workers=0))


@pytest.mark.parametrize("final", [None, 0.6])
def test_a_plan_says_what_the_run_then_comes_to(folder, final):
    objective = replace(MLM, final_select_fraction=final)
    said = planned(folder, objective=objective, trainer=trainer_with(accumulation=2))
    run = pretrain_tiny(folder, f"run-{final}", objective=objective)
    assert (said.parameters, said.steps, said.tokens, said.epochs, said.shares) == (
        *(run.parameters, run.fit.steps, run.tokens, run.epochs, run.shares),
    )
    recipe = Recipe(**{**RECIPE, "objective": objective})
    done = flops_of_all_steps(folder, recipe, steps=run.fit.steps)
    assert said.flops == pytest.approx(done, rel=0.03)  # of a sample of the steps
    assert said.validations == 3  # of 25 steps, every ten, and at the end


def test_a_plan_counts_the_bytes_of_training(folder):
    said = planned(folder)
    assert said.measured.weights_bytes == 4 * said.parameters
    assert said.measured.gradients_bytes == 4 * said.parameters
    tensors = len(
        list(build_workload(Recipe(**RECIPE), text_in(folder), start=None).network.parameters())
    )
    # Adam keeps two numbers a weight, and a count a tensor.
    assert said.measured.optimizer_bytes == 8 * said.parameters + 4 * tensors
    assert said.measured.peak_bytes > 4 * said.measured.weights_bytes
    vocabulary, positions, types, width = 60, 32, 2, 32
    tables = (vocabulary + positions + types) * width
    assert said.parameters_without_embeddings == said.parameters - tables


def test_a_plan_writes_nothing_and_reads_well(folder, tmp_path, monkeypatch):
    before = sha256_of(folder)
    monkeypatch.chdir(tmp_path)
    lines = planned(folder).rendered().splitlines()
    assert sha256_of(folder) == before
    assert list(tmp_path.iterdir()) == []
    starts = {len(line) - len(line[2:].lstrip().split("  ", 1)[-1].lstrip()) for line in lines[1:]}
    assert len(starts) == 1, "the values are not aligned"


def test_measuring_leaves_the_network_and_the_randomness_as_they_were(folder):
    recipe = Recipe(**RECIPE)
    workload = build_workload(recipe, text_in(folder), start=None)
    before = {name: value.clone() for name, value in workload.network.state_dict().items()}
    state = torch.get_rng_state()
    timing.measure(workload, recipe, trainer=CPU)
    assert torch.equal(torch.get_rng_state(), state)
    after = workload.network.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert all(p.grad is None for p in workload.network.parameters())


def test_flops_become_the_steps_that_take_them(folder):
    said = planned(folder)
    budget = Budget(total_flops=said.flops * 0.8 - 1, validate_every_steps=10)
    run = pretrain_tiny(folder, "by-flops", budget=budget)
    assert run.fit.steps == planned(folder, budget=budget).steps == 20


def test_a_killed_run_of_hours_goes_on_to_the_end_it_began_for(folder):
    hours = Budget(total_hours=3e-4, validate_every_steps=10)  # a second
    with pytest.raises(Killed):
        pretrain_tiny(folder, "hours", budget=hours, sink=DyingSink(at=9))
    kept = folder / "checkpoints" / "hours" / timing.STEPS
    steps = read_json(kept)["steps"]
    assert steps > 9
    # Measured anew, as on a faster machine, it would be twice as many steps.
    run = pretrain_tiny(folder, "hours", budget=replace(hours, total_hours=6e-4))
    assert (run.fit.steps, run.fit.resumed_from_step) == (steps, 8)
    by_steps = Budget(total_steps=steps, validate_every_steps=10)
    pretrain_tiny(folder, "as-many-steps", budget=by_steps)
    assert_same_end(folder, "hours", "as-many-steps")


def test_hours_of_several_processes_are_refused(folder):
    hours = Budget(total_hours=1.0, validate_every_steps=10)
    with pytest.raises(ConfigError, match=r"trainer\.strategy=ddp.*\n.*budget\.total_steps"):
        planned(folder, budget=hours, trainer=trainer_with(strategy="ddp"))


def test_loader_processes_and_parts_are_measured_as_the_run_has_them(folder):
    trainer = trainer_with(loader_workers=1, accumulation=PACKED.windows_per_batch)
    assert planned(folder, trainer=trainer).measured.seconds_per_step > 0
