"""From the command to the end of the first step: `python -m benchmarks.startup ours|peer SPEC`.

The process ends when the first optimiser has stepped (torch's hook), and its whole life is taken.
Ours is `vertiform pretrain` as typed, with Hydra, MLflow and lineage; the peer is the Trainer over
windows that are grouped already. Both have their tokens on disk.
"""

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from torch.optim.optimizer import register_optimizer_step_post_hook


def ends(*_: Any) -> None:
    """End at once: what comes after the first step is not measured."""
    sys.stdout.write(json.dumps({"ended": "first step"}) + "\n")
    sys.stdout.flush()
    os._exit(0)


def prepare(grouped: Path) -> None:
    """Write what the example script finds in its cache: grouped windows and a tokenizer."""
    from datasets import Dataset

    from benchmarks import data
    from vertiform.batches.packed import open_stream
    from vertiform.corpus.manifest import read_manifest

    tokens, _ = data.tokens(8000)
    stream = open_stream(tokens, read_manifest(tokens), split="train", window_tokens=128, seed=1)
    ids = stream.windows(0, 512, window_tokens=128).ids
    special = (ids < len(data.SPECIAL)).astype("int64")
    columns = {"input_ids": list(ids), "special_tokens_mask": list(special)}
    Dataset.from_dict(columns).save_to_disk(str(grouped / "windows"))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (grouped / name).write_bytes((tokens / name).read_bytes())
    sys.stdout.write("{}\n")


def peer(grouped: Path) -> None:
    """run_mlm.py, its text tokenized and grouped, with a model of the same size."""
    from datasets import load_from_disk
    from transformers import (
        AutoTokenizer,
        BertConfig,
        BertForMaskedLM,
        DataCollatorForLanguageModeling,
        Trainer,
        TrainingArguments,
    )

    tokenizer = AutoTokenizer.from_pretrained(grouped)
    config = BertConfig(
        vocab_size=8000,
        hidden_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=512,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    Trainer(
        model=BertForMaskedLM(config),
        args=TrainingArguments(
            output_dir=str(grouped / "out"),
            max_steps=20,
            per_device_train_batch_size=16,
            optim="adamw_torch_fused",
            use_cpu=True,
            dataloader_pin_memory=False,
            save_strategy="no",
            report_to="none",
        ),
        train_dataset=load_from_disk(str(grouped / "windows")),
        data_collator=DataCollatorForLanguageModeling(tokenizer=tokenizer, mlm_probability=0.15),
    ).train()


def main(side: str, spec: dict[str, Any]) -> None:
    """Start one side; it ends itself."""
    register_optimizer_step_post_hook(ends)
    if side == "prepare":
        prepare(Path(spec["grouped"]))
        return
    if side == "peer":
        peer(Path(spec["grouped"]))
        return
    from vertiform.cli.main import main as vertiform

    store = Path(tempfile.mkdtemp(prefix="vertiform-startup-"))
    vertiform(
        [
            "pretrain",
            "domain=software",
            "budget.total_steps=20",
            f"tracking.tracking_uri=sqlite:///{store}/mlflow.db",
            f"seed={os.getpid()}",  # a run of its own, which goes on from nothing
            "--out",
            str(store / "out"),
        ]
    )


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
