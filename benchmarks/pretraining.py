"""One measured pretraining run: `python -m benchmarks.pretraining ours|peer|by_hand SPEC`.

All three start from equal weights, read the same windows of tokens, and use AdamW with the same
rates. `peer` is transformers' Trainer as run_mlm.py and run_clm.py set it up; `by_hand` is the
plainest loop over our own network, loss and batches. Speed is taken between two steps, so that
imports and warming up are left out; the validation loss is of the same hidden tokens.
"""

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from benchmarks import data
from benchmarks.recipe import built, built_section
from vertiform.batches.loading import BatchRange
from vertiform.evaluation import names
from vertiform.training.hardware import applied, choose, compile_blocks
from vertiform.training.pretrain import pretrain
from vertiform.training.trainer import memory_kept
from vertiform.training.workload import Recipe, Text, Workload, build_workload

SEED = 1


class Clock:
    """When steps ended: by our metric sink, by the Trainer's callback, or by hand."""

    def __init__(self) -> None:
        self.at: dict[int, float] = {}
        self.points: dict[str, float] = {}

    def log_points(self, points: Any, *, step: int) -> None:
        """Take the points of our loop, written every `warm_steps` steps (a MetricSink)."""
        self.points.update(points)
        if names.TOKENS_PER_SECOND in points:
            self.take(step)

    def log_text(self, text: str, file: str) -> None:
        """Drop the text (a MetricSink)."""

    def sync(self) -> None:
        """There is nothing to sync (a MetricSink)."""

    def take(self, step: int) -> None:
        """Note that `step` has ended, on the device too."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.at.setdefault(step, time.perf_counter())

    def tokens_per_second(self, spec: dict[str, Any]) -> float:
        """Tokens a second between the first point and the last step."""
        steps = spec["steps"] - spec["warm_steps"]
        seconds = self.at[spec["steps"]] - self.at[spec["warm_steps"]]
        return steps * spec["windows"] * spec["window_tokens"] / seconds


def recipe_of(spec: dict[str, Any]) -> Recipe:
    """The recipe of conf/, of the size and length that `spec` says."""
    return Recipe(
        model=built("model", spec["model"], **spec.get("size", {})),
        objective=built("objective", spec["objective"]),
        optimizer=built("optimizer", "adamw", lr=spec["lr"]),
        schedule=built("schedule", "warmup_cosine"),
        batches=built(
            "batches",
            "packed",
            window_tokens=spec["window_tokens"],
            windows_per_batch=spec["windows"],
            max_validation_windows=spec["validation_windows"],
        ),
        budget=built_section(
            "pretrain", "budget", total_steps=spec["steps"], validate_every_steps=spec["steps"]
        ),
        seed=SEED,
        monitor="val/nats_per_token",
    )


def trainer_of(spec: dict[str, Any]) -> Any:
    """Our trainer as conf/ has it for the device; no checkpoints, which a speed would not show."""
    return built("trainer", spec["trainer"], log_every_steps=spec["warm_steps"])


def ours(spec: dict[str, Any], text: Text) -> dict[str, Any]:
    """Measure `vertiform pretrain`'s own function."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        result = pretrain(
            recipe_of(spec),
            text,
            start=None,
            out=Path(folder) / "out",
            checkpoints=None,
            fingerprint="benchmark",
            trainer=trainer_of(spec),
            sink=clock,
        )
    found = {"val_loss": result.metrics["val/nats_per_token"]}
    if names.MODEL_FLOPS_UTILISATION in clock.points:
        found["flops_utilisation"] = clock.points[names.MODEL_FLOPS_UTILISATION]
    return {"tokens_per_second": clock.tokens_per_second(spec), **found}


def by_hand(spec: dict[str, Any], text: Text) -> dict[str, Any]:
    """Measure the same network, loss, batches and optimiser in the shortest loop."""
    recipe, trainer, clock = recipe_of(spec), trainer_of(spec), Clock()
    work = build_workload(recipe, text, start=None)
    choices = choose(trainer)
    steps = spec["steps"]
    with applied(choices), memory_kept():
        if choices.compiles.value == "on":
            compile_blocks(work.network)
        network = work.network.to(choices.device).train()
        optimizer = recipe.optimizer.build(network)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: recipe.schedule.factor(step, total_steps=steps)
        )
        batches = BatchRange(
            batches=work.training(parts=1, steps=steps),
            first=0,
            last=steps,
            workers=trainer.loader_workers,
        )
        with torch.autocast(
            choices.device, torch.bfloat16, enabled=choices.precision.value == "bf16-mixed"
        ):
            for step, batch in enumerate(batches, start=1):
                loss = recipe.objective.losses(network, _on(batch, choices.device)).total
                loss.backward()
                nn.utils.clip_grad_norm_(network.parameters(), recipe.optimizer.gradient_clip_norm)
                optimizer.step()
                schedule.step()
                optimizer.zero_grad()
                if step in (spec["warm_steps"], steps):
                    clock.take(step)
        loss = _validation_loss(work, network, choices.device, recipe=recipe)
    return {"tokens_per_second": clock.tokens_per_second(spec), "val_loss": loss}


def peer(spec: dict[str, Any], text: Text, *, on_step: Any = None) -> dict[str, Any]:
    """Measure transformers' Trainer over windows grouped beforehand, as its examples do."""
    from transformers import Trainer, TrainerCallback, TrainingArguments

    recipe, clock = recipe_of(spec), Clock()
    work = build_workload(recipe, text, start=None)
    on_gpu = torch.cuda.is_available()
    columns, collator = _grouped(spec, work, text)
    optimizer, schedule = recipe.optimizer, recipe.schedule

    class Watch(TrainerCallback):
        def on_step_end(self, arguments: Any, state: Any, control: Any, **_: Any) -> None:
            if on_step is not None:
                on_step()
            if state.global_step in (spec["warm_steps"], spec["steps"]):
                clock.take(state.global_step)

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            max_steps=spec["steps"],
            per_device_train_batch_size=spec["windows"],
            learning_rate=optimizer.lr,  # type: ignore[attr-defined]
            adam_beta1=optimizer.beta1,  # type: ignore[attr-defined]
            adam_beta2=optimizer.beta2,  # type: ignore[attr-defined]
            adam_epsilon=optimizer.epsilon,  # type: ignore[attr-defined]
            weight_decay=optimizer.weight_decay,  # type: ignore[attr-defined]
            max_grad_norm=optimizer.gradient_clip_norm,  # type: ignore[attr-defined]
            lr_scheduler_type="cosine_with_min_lr",
            lr_scheduler_kwargs={"min_lr_rate": schedule.final_lr_fraction},  # type: ignore[attr-defined]
            warmup_steps=round(schedule.warmup_fraction * spec["steps"]),  # type: ignore[attr-defined]
            seed=SEED,
            use_cpu=not on_gpu,
            bf16=on_gpu,
            tf32=True if on_gpu else None,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            **{
                "optim": "adamw_torch_fused",
                "dataloader_pin_memory": on_gpu,
                "dataloader_num_workers": 4 if on_gpu else 0,
                **spec.get("peer_flags", {}),
            },
        )
        network = _as_examples_build_it(work.network)
        Trainer(
            model=network,
            args=arguments,
            train_dataset=columns,
            data_collator=collator,
            callbacks=[Watch()],
        ).train()
    device = "cuda" if on_gpu else "cpu"
    loss = _validation_loss(work, network.to(device), device, recipe=None)
    return {"tokens_per_second": clock.tokens_per_second(spec), "val_loss": loss}


def _as_examples_build_it(network: Any) -> nn.Module:
    """The same weights under transformers' own attention, activation and whole rows."""
    config = type(network.config).from_dict(network.config.to_dict())
    if config.model_type == "gpt2":
        config.activation_function = "gelu_new"  # the default of GPT-2's config
    plain = type(network)._from_config(config, attn_implementation="sdpa")
    plain.load_state_dict(network.state_dict())
    return plain


def _grouped(spec: dict[str, Any], work: Workload, text: Text) -> tuple[Any, Any]:
    """The run's own windows as group_texts of the examples would leave them, and a collator."""
    from datasets import Dataset
    from transformers import (
        DataCollatorForLanguageModeling,
        PreTrainedTokenizerFast,
        default_data_collator,
    )

    count, width = spec["steps"] * spec["windows"], spec["window_tokens"]
    ids = work.train.stream.windows(0, count, window_tokens=width).ids
    ones = [[1] * width] * count
    columns: dict[str, Any] = {"input_ids": list(ids), "attention_mask": ones}
    if spec["objective"] == "clm":
        return Dataset.from_dict({**columns, "labels": list(ids)}), default_data_collator
    tokenizer = PreTrainedTokenizerFast.from_pretrained(text.tokens)
    columns["token_type_ids"] = [[0] * width] * count
    columns["special_tokens_mask"] = list((ids < len(data.SPECIAL)).astype("int64"))
    collator = DataCollatorForLanguageModeling(tokenizer=tokenizer, mlm_probability=0.15)
    return Dataset.from_dict(columns), collator


def _validation_loss(work: Workload, network: Any, device: str, *, recipe: Recipe | None) -> float:
    """Mean nats per predicted token. Without a recipe, of a network that reads whole rows."""
    network.eval()
    total = count = 0.0
    half = torch.autocast(device, torch.bfloat16, enabled=device == "cuda")
    with torch.inference_mode(), half:
        for batch in work.validating()[0]:
            on = _on(batch, device)
            if recipe is not None:
                loss = recipe.objective.losses(network, on).total
            else:
                logits = network(input_ids=on.input_ids).logits.flatten(0, 1)[on.positions]
                loss = F.cross_entropy(logits.float(), on.labels)
            total += float(loss) * len(batch.labels)
            count += len(batch.labels)
    return total / count


def _on(value: Any, device: str) -> Any:
    """A batch on a device; its tensors may stand in named tuples within it."""
    if isinstance(value, torch.Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_on(each, device) for each in value))
    return value


def main(side: str, spec: dict[str, Any]) -> None:
    """Measure one side and print what was found as JSON."""
    tokens, name = data.tokens(spec["vocab_size"])
    text = Text(domain="benchmarks", tokens=tokens)
    found = {"ours": ours, "peer": peer, "by_hand": by_hand}[side](spec, text)
    print(json.dumps({**found, "data": name}))


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
