"""Encoded examples to batches of like length, each a function of (seed, its number)."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vertiform.batches.packing import Packing
from vertiform.batches.randomness import Purpose, generator
from vertiform.errors import ConfigError

IGNORED = -100  # the target that cross_entropy leaves out
NO_UNIT = -1  # of a token that no labelled text or word holds


@dataclass(frozen=True, slots=True)
class Example:
    """What a network reads of one row; a row longer than the network reads becomes several.

    A unit is what gets a label: the whole text, or a word of it.
    row:       place of the row among the rows that were encoded.
    input_ids: (T,) int64, special tokens included.
    cases:     (T,) int64: how the word of each token is written in capitals (tasks.case).
    unit_of:   (T,) int64: the unit that each token belongs to, 0 to U - 1, or NO_UNIT.
    targets:   (U,) int64: each unit's right output, or IGNORED.
    units:     (U,) int64: the places of these units in the row.
    """

    row: int
    input_ids: np.ndarray
    cases: np.ndarray
    unit_of: np.ndarray
    targets: np.ndarray
    units: np.ndarray


class ExampleBatch(NamedTuple):
    """Examples padded to the longest of them, and where to find them without padding.

    input_ids, attention_mask: (B, T) int64; the mask is 0 where an example is padded.
    cases:      (B, T) int64, 0 where an example is padded.
    unit_of:    (B, T) int64, NO_UNIT where an example is padded.
    targets:    (B, U) int64, IGNORED where an example has fewer units.
    places:     (N,) int64, the places of the N real tokens in the flattened (B * T).
    packing:    of the N real tokens in one row, (1, N): each example is a piece.
    numbers:    the place of each example among all.
    num_tokens: N, and num_slots the same: what is padded is not computed (tasks.network).
    weight:     of the mean loss of this batch in the mean over all parts of its step, so that this
                is the loss of the whole: 1.0 of a step in one part, 0.0 of a part without a label.
    """

    input_ids: Tensor
    attention_mask: Tensor
    cases: Tensor
    unit_of: Tensor
    targets: Tensor
    places: Tensor
    packing: Packing
    numbers: tuple[int, ...]
    num_tokens: int
    num_slots: int
    weight: float = 1.0

    def on(self, device: torch.device) -> "ExampleBatch":
        """Return the batch with its tensors on `device`."""
        return self._replace(
            input_ids=self.input_ids.to(device),
            attention_mask=self.attention_mask.to(device),
            cases=self.cases.to(device),
            unit_of=self.unit_of.to(device),
            targets=self.targets.to(device),
            places=self.places.to(device),
            packing=self.packing._replace(
                position_ids=self.packing.position_ids.to(device),
                segment_ids=self.packing.segment_ids.to(device),
                bounds=self.packing.bounds.to(device),
            ),
        )


@dataclass(frozen=True, kw_only=True)
class GroupedParams:
    """conf/batches/grouped_by_length.yaml.

    batches_per_pool: examples are shuffled, and only those of a pool of so many batches are
                      sorted by length: 1 is plain shuffling, more wastes less on padding.
    """

    examples_per_batch: int
    batches_per_pool: int

    def __post_init__(self) -> None:
        if self.examples_per_batch < 1 or self.batches_per_pool < 1:
            raise ConfigError(
                "batches.examples_per_batch and batches.batches_per_pool must be 1 or more.",
                fix="16 examples and pools of 20 batches are usual for a thousand examples.",
            )


@dataclass(frozen=True, kw_only=True)
class GroupedBatches:
    """An endless series of training batches: epoch after epoch, each example once in each.

    parts: batches that make up one step of the optimiser: steps of accumulation, times processes.
           The examples of a step and the mean over its labels are the same whatever this is. A
           part that is left without an example reads one of another, for nothing.
    """

    examples: Sequence[Example]
    params: GroupedParams
    pad_id: int
    seed: int
    parts: int = 1

    @property
    def steps_per_epoch(self) -> int:
        """The last step of an epoch may have fewer examples."""
        return -(-len(self.examples) // self.params.examples_per_batch)

    def __getitem__(self, number: int) -> ExampleBatch:
        step, part = divmod(number, self.parts)
        epoch, place = divmod(step, self.steps_per_epoch)
        if epoch not in self._orders:
            self._orders.clear()  # one epoch's order at a time
            self._orders[epoch] = self._order_of(epoch)
        whole = self._orders[epoch][place]
        if self.parts == 1:
            return collate(self.examples, whole, pad_id=self.pad_id)
        numbers = np.array_split(whole, self.parts)[part]
        if not len(numbers):
            batch = collate(self.examples, whole[:1], pad_id=self.pad_id)
            ignored = torch.full_like(batch.targets, IGNORED)
            return batch._replace(targets=ignored, num_tokens=0, weight=0.0)
        batch = collate(self.examples, numbers, pad_id=self.pad_id)
        labels = self._labels_of(whole)
        weight = self.parts * self._labels_of(numbers) / labels if labels else 0.0
        return batch._replace(weight=weight)

    def _labels_of(self, numbers: np.ndarray) -> int:
        return sum(int((self.examples[n].targets != IGNORED).sum()) for n in numbers)

    @cached_property
    def _orders(self) -> dict[int, list[np.ndarray]]:
        return {}

    def _order_of(self, epoch: int) -> list[np.ndarray]:
        """The examples of each batch of an epoch."""
        size = self.params.examples_per_batch
        draw = generator(self.seed, Purpose.ORDER, epoch)
        shuffled = draw.permutation(len(self.examples))
        lengths = _lengths(self.examples)
        batches: list[np.ndarray] = []
        for pool in _cut(shuffled, size * self.params.batches_per_pool):
            batches += _cut(pool[np.argsort(lengths[pool], kind="stable")], size)
        # Else every pool would begin with its shortest texts.
        return [batches[place] for place in draw.permutation(len(batches))]


@dataclass(frozen=True, kw_only=True)
class OrderedBatches:
    """Each example once, shortest first, the same every time: for validation and prediction."""

    examples: Sequence[Example]
    examples_per_batch: int
    pad_id: int

    def __iter__(self) -> Iterator[ExampleBatch]:
        order = np.argsort(_lengths(self.examples), kind="stable")
        for numbers in _cut(order, self.examples_per_batch):
            yield collate(self.examples, numbers, pad_id=self.pad_id)


def collate(examples: Sequence[Example], numbers: Iterable[int], *, pad_id: int) -> ExampleBatch:
    """Pad the examples of these numbers to the longest of them."""
    numbers = [int(number) for number in numbers]
    chosen = [examples[number] for number in numbers]
    lengths = [len(example.input_ids) for example in chosen]
    attention_mask = _padded([np.ones(length, dtype=np.int64) for length in lengths], 0)
    bounds = np.concatenate(([0], np.cumsum(lengths)))  # (B + 1,)
    return ExampleBatch(
        input_ids=_padded([example.input_ids for example in chosen], pad_id),
        attention_mask=attention_mask,
        cases=_padded([example.cases for example in chosen], 0),
        unit_of=_padded([example.unit_of for example in chosen], NO_UNIT),
        targets=_padded([example.targets for example in chosen], IGNORED),
        places=attention_mask.flatten().nonzero().squeeze(1),
        packing=Packing(
            position_ids=torch.from_numpy(np.concatenate([np.arange(n) for n in lengths]))[None],
            segment_ids=torch.from_numpy(np.repeat(np.arange(len(lengths)), lengths))[None],
            bounds=torch.from_numpy(bounds.astype(np.int32)),
            longest=max(lengths),
        ),
        numbers=tuple(numbers),
        num_tokens=sum(lengths),
        num_slots=sum(lengths),
    )


def _padded(values: Sequence[np.ndarray], padding: int) -> Tensor:
    """Stack arrays of different lengths: (B, longest) int64."""
    stacked = np.full((len(values), max(map(len, values))), padding, dtype=np.int64)
    for b, each in enumerate(values):
        stacked[b, : len(each)] = each
    return torch.from_numpy(stacked)


def _lengths(examples: Sequence[Example]) -> np.ndarray:
    return np.array([len(example.input_ids) for example in examples], dtype=np.int64)


def _cut(numbers: np.ndarray, size: int) -> list[np.ndarray]:
    return [numbers[start : start + size] for start in range(0, len(numbers), size)]
