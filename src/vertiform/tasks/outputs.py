"""Runs a network over rows: the one way from rows to logits, in validation, scoring and serving."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vertiform.batches.examples import ExampleBatch, OrderedBatches
from vertiform.tasks.network import TaskNetwork
from vertiform.tasks.rows import Row
from vertiform.tasks.task import Task


def row_logits(
    rows: Sequence[Row],
    *,
    task: Task,
    network: TaskNetwork,
    tokenizer: Any,
    max_tokens: int,
    examples_per_batch: int = 1,
) -> list[np.ndarray]:
    """Return each row's logits, (C,) or (words, C) float32, on the device where `network` is.

    With one example a batch, a row's bits depend on nothing but the row: matrix products round
    differently in batches of other shapes.
    """
    if not rows:
        return []
    examples = task.encode(rows, tokenizer=tokenizer, max_tokens=max_tokens)
    batches = OrderedBatches(
        examples=examples,
        examples_per_batch=examples_per_batch,
        pad_id=tokenizer.pad_token_id,
    )
    found: list[Any] = [None] * len(examples)
    device = network.head.weight.device
    with torch.inference_mode():
        for batch in batches:
            for number, logits in example_logits(batch, network(batch.on(device))):
                found[number] = logits
    return task.gather(rows, examples, found)


def example_logits(batch: ExampleBatch, logits: Tensor) -> list[tuple[int, np.ndarray]]:
    """Return the number of each example of a batch and the logits of its units, (U, C).

    An example with fewer units than another of the batch has some at its end that mean nothing.
    """
    return list(zip(batch.numbers, logits.float().cpu().numpy(), strict=True))
