"""What the notes of runs tell, and that the commands in them are commands."""

import re

import pytest

from vertiform.cli.main import VERBS
from vertiform.tracking.run_notes import finetune_note, pretrain_note, start_note

CONFIG = {
    "domain": "software",
    "task": {"name": "area"},
    "monitor": "val/f1_macro",
    "seed": 7,
}
DATA = {"data/software/tasks": "ab" * 16 + ".dir"}
STARTS = [
    {"start": "baseline", "run_id": "1" * 32, "val/f1_macro": 0.51, "seconds": 1.5},
    {"start": "domain", "run_id": "2" * 32, "val/loss_nats": 1.2, "val/f1_macro": 0.68}
    | {"seconds": 60.0},
]


def of_finetuning() -> str:
    name = "area: 1 starts and a baseline"
    return finetune_note(name, CONFIG, best="domain", starts=STARTS, data=DATA)


def of_start() -> str:
    return start_note(
        *("area from domain", CONFIG),
        start="domain",
        metrics={"val/f1_macro": 0.68},
        seconds=60.0,
        data=DATA,
    )


def of_pretraining() -> str:
    return pretrain_note(
        *("software from scratch", CONFIG | {"monitor": "val/nats_per_token"}),
        model="runs/pretrain/abc",
        facts={"steps": "508"},
        metrics={"val/nats_per_token": 5.28},
        data=DATA,
    )


def test_the_best_start_is_marked_and_the_monitored_metric_comes_first():
    lines = of_finetuning().splitlines()
    assert "| start | val/f1_macro | val/loss_nats | seconds | run |" in lines
    assert "| **domain** (best) | 0.680 | 1.200 | 60.0 | 222222222222 |" in lines
    assert "| baseline | 0.510 | - | 1.5 | 111111111111 |" in lines


def test_a_metric_that_only_a_later_start_has_is_shown_too():
    assert "val/loss_nats" in of_finetuning()


def test_a_pretraining_run_says_what_came_out_and_what_it_read():
    note = of_pretraining()
    assert note.startswith("# software from scratch\n")
    assert "| steps | 508 |" in note
    assert "| val/nats_per_token | 5.280 |" in note
    assert "| data/software/tasks | abababababab |" in note
    assert "vertiform pretrain domain=software weights=runs/pretrain/abc" in note


def test_a_start_says_how_it_compares():
    note = of_start()
    assert "| val/f1_macro | 0.680 |" in note
    assert "--sort best/val/f1_macro" in note


@pytest.mark.parametrize("note", [of_finetuning, of_start, of_pretraining])
def test_every_command_of_a_note_exists(note):
    commands = re.search(r"```bash\n(.*?)```", note(), re.DOTALL)
    assert commands is not None
    for line in commands[1].splitlines():
        program, verb, *_ = line.split()
        assert verb in VERBS if program == "vertiform" else (program, verb) == ("dvc", "repro")
