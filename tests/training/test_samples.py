"""Samples of each validation: what they say, and that they change nothing."""

import json
import re
from dataclasses import asdict, replace

import pytest
import torch

from tests.tasks.small import classification_task, entities_task, tiny_checkpoint
from tests.training.test_finetune import MONITORS, RECIPE, START
from tests.training.test_finetune import run as finetune_tiny
from tests.training.test_resume import DyingSink, Killed
from tests.training.tiny import BUDGET, MLM, MODEL, pretrain_tiny, trainer_with
from vertiform.evaluation import names
from vertiform.models.decoder import DecoderParams
from vertiform.tasks.rows import read_task
from vertiform.training.metrics import MemorySink
from vertiform.training.objectives.clm import CausalLm
from vertiform.training.objectives.mlm_nsp import MaskedLmWithNextSentence
from vertiform.training.objectives.rtd import ReplacedTokens
from vertiform.training.samples import Sample, in_markdown, shortened, spread
from vertiform.training.workload import Workload

OBJECTIVES = {
    "mlm": {},
    "mlm_nsp": {"objective": MaskedLmWithNextSentence(masked=MLM)},
    "rtd": {
        "objective": ReplacedTokens(masked=MLM, generator_fraction=0.5, discriminator_weight=50.0)
    },
    "clm": {"objective": CausalLm(), "model": DecoderParams(**asdict(MODEL))},
}


@pytest.fixture(scope="module", params=list(OBJECTIVES))
def run(request, tmp_path_factory):
    """A finished run of each objective: its folder, what it was given, and its sink."""
    folder, sink = tmp_path_factory.mktemp("samples"), MemorySink()
    given = OBJECTIVES[request.param]
    pretrain_tiny(folder, "with", sink=sink, **given)
    return folder, given, sink


def samples_at(sink: MemorySink, step: int) -> list[dict]:
    told = json.loads(sink.texts[f"samples/step_{step:06d}.json"])
    assert told["step"] == step
    return told["samples"]


def test_each_validation_has_a_file_for_programs_and_one_for_people(run):
    _, _, sink = run
    steps = (10, 20, 25)
    assert list(sink.texts) == [
        f"samples/step_{step:06d}.{kind}" for step in steps for kind in ("json", "md")
    ]


def test_they_are_of_the_same_texts_each_time(run):
    _, _, sink = run
    texts = [[sample["text"] for sample in samples_at(sink, step)] for step in (10, 20, 25)]
    assert texts[0] == texts[1] == texts[2]
    assert len(texts[0]) >= 4
    truths = [
        [row["truth"] for sample in samples_at(sink, step) for row in sample["rows"]]
        for step in (10, 25)
    ]
    assert truths[0] == truths[1] != []


def test_taking_them_leaves_the_bits_of_training_as_they_are(run, monkeypatch):
    folder, given, sink = run
    monkeypatch.setattr(Workload, "shown", lambda workload: [])
    without = MemorySink()
    pretrain_tiny(folder, "without", sink=without, **given)
    assert samples_at(without, 25) == []
    weights = [(folder / name / "model.safetensors").read_bytes() for name in ("with", "without")]
    assert weights[0] == weights[1]
    for name in (names.TRAIN_LOSS_NATS, names.VAL_LOSS_NATS, names.GRADIENT_NORM):
        assert sink.of(name) == without.of(name)


def test_blanks_of_a_masked_model_are_numbered_and_guessed(tmp_path):
    sink = MemorySink()
    pretrain_tiny(tmp_path, sink=sink)
    seen = 0
    for sample in samples_at(sink, 25):
        numbers = [row["blank"] for row in sample["rows"]]
        assert [int(n) for n in re.findall(r"\[(\d)\]", sample["text"])] == numbers
        for row in sample["rows"]:
            seen += 1
            chances = [row[f"probability {guess}"] for guess in (1, 2, 3)]
            assert 1 >= chances[0] >= chances[1] >= chances[2] > 0
            assert len({row[f"guess {guess}"] for guess in (1, 2, 3)}) == 3
            assert row["truth"].startswith("w")
    assert seen > 0


def test_a_causal_model_goes_on_with_the_beginning_of_a_text(tmp_path):
    sink = MemorySink()
    pretrain_tiny(tmp_path, sink=sink, **OBJECTIVES["clm"])
    for sample in samples_at(sink, 25):
        (row,) = sample["rows"]
        assert len(row["continuation"].split()) == 12
        assert 0 < row["mean probability"] <= 1


def test_a_replaced_token_is_judged(tmp_path):
    sink = MemorySink()
    pretrain_tiny(tmp_path, sink=sink, **OBJECTIVES["rtd"])
    rows = [row for sample in samples_at(sink, 25) for row in sample["rows"]]
    assert rows
    assert all(0 <= row["probability of replaced"] <= 1 for row in rows)


def test_a_pair_is_judged(tmp_path):
    sink = MemorySink()
    pretrain_tiny(tmp_path, sink=sink, **OBJECTIVES["mlm_nsp"])
    rows = [row for sample in samples_at(sink, 25) for row in sample["rows"]]
    assert any("probability that B follows A" in row for row in rows)


def test_a_run_that_goes_on_gives_the_same_samples(tmp_path):
    whole, before, after = MemorySink(), DyingSink(at=15), MemorySink()
    pretrain_tiny(tmp_path, "whole", sink=whole)
    with pytest.raises(Killed):
        pretrain_tiny(tmp_path, "killed", sink=before)
    pretrain_tiny(tmp_path, "killed", sink=after)
    assert before.texts | after.texts == whole.texts


def test_a_compiled_network_is_not_compiled_again_for_them(tmp_path, monkeypatch):
    compile_really, compiled = torch.nn.Module.compile, []

    def count(graph, example_inputs):
        compiled.append(graph)
        return graph.forward

    monkeypatch.setattr(
        torch.nn.Module, "compile", lambda block: compile_really(block, backend=count)
    )
    budget = replace(BUDGET, total_steps=2, validate_every_steps=1)
    counts = []
    for shown in (Workload.shown, lambda workload: []):
        monkeypatch.setattr(Workload, "shown", shown)
        torch.compiler.reset()
        compiled.clear()
        sink = MemorySink()
        pretrain_tiny(
            tmp_path,
            "run",
            sink=sink,
            budget=budget,
            trainer=trainer_with(compile="on"),
            checkpoints=None,
        )
        counts.append((len(samples_at(sink, 2)), len(compiled)))
    (with_samples, graphs), (without, graphs_without) = counts
    assert (with_samples, without) == (4, 0)
    assert graphs == graphs_without > 0


@pytest.mark.parametrize("kind", ["classification", "entities"])
def test_rows_of_a_task_are_shown_with_truth_prediction_and_confidence(kind, tmp_path):
    write = {"classification": classification_task, "entities": entities_task}[kind]
    data, sink = read_task(write(tmp_path / "task")), MemorySink()
    finetune_tiny(
        data,
        tiny_checkpoint(tmp_path / "tiny"),
        tmp_path / "out",
        sink=sink,
        start=replace(START, epochs=2),
        recipe=replace(RECIPE, monitor=MONITORS[kind]),
    )
    (step,) = sink.of(names.VAL_LOSS_NATS)
    samples = samples_at(sink, step)
    assert len(samples) == 8
    rows = [row for sample in samples for row in sample["rows"]]
    assert rows
    for row in rows:
        assert {"truth", "prediction", "confidence"} <= row.keys()
        assert row["truth"] in {*data.labels, "none"}
        assert row["prediction"] in {*data.labels, "none"}
        assert (row["confidence"] == "") == (row["prediction"] == "none")


def test_people_read_a_text_and_its_table():
    told = in_markdown([Sample("two\nlines", [{"truth": "a|b", "confidence": 0.51234}])], step=1250)
    assert told == (
        "# Samples of the validation at step 1,250\n\n> two lines\n\n"
        "| truth | confidence |\n| --- | --- |\n| a\\|b | 0.512 |\n"
    )


@pytest.mark.parametrize(
    ("total", "chosen"), [(0, []), (3, [0, 1, 2]), (4, [0, 1, 2, 3]), (10, [0, 2, 5, 7])]
)
def test_numbers_are_chosen_evenly(total, chosen):
    assert spread(total, 4) == chosen


def test_a_long_text_is_cut_and_seen_to_be():
    assert shortened("a" * 600) == "a" * 600
    assert shortened("a" * 601) == "a" * 600 + " ..."
