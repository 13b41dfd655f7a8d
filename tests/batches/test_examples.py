import dataclasses

import numpy as np
import pytest
import torch

from vertiform.batches.examples import (
    IGNORED,
    NO_UNIT,
    Example,
    GroupedBatches,
    GroupedParams,
    OrderedBatches,
    collate,
)
from vertiform.errors import ConfigError

PARAMS = GroupedParams(examples_per_batch=4, batches_per_pool=5)


def of_lengths(lengths, *, labels_each_word=False):
    """Texts of so many tokens, one unit each; or the same with each token a unit."""
    return [
        Example(
            row=n,
            input_ids=np.full(length, 7),
            cases=np.full(length, 2),
            unit_of=np.arange(length) if labels_each_word else np.zeros(length, dtype=np.int64),
            targets=np.full(length, 3) if labels_each_word else np.array([n % 3]),
            units=np.arange(length if labels_each_word else 1),
        )
        for n, length in enumerate(lengths)
    ]


def grouped(examples, *, seed=0, params=PARAMS):
    return GroupedBatches(examples=examples, params=params, pad_id=0, seed=seed)


@pytest.fixture
def examples():
    return of_lengths(np.random.default_rng(0).integers(5, 60, size=90))


def test_each_example_comes_once_an_epoch(examples):
    batches = grouped(examples)
    for epoch in range(3):
        first = epoch * batches.steps_per_epoch
        numbers = [n for b in range(batches.steps_per_epoch) for n in batches[first + b].numbers]
        assert sorted(numbers) == list(range(90))


def test_a_batch_is_a_function_of_the_seed_and_its_number(examples):
    in_order = [grouped(examples)[n].numbers for n in range(60)]
    batches = grouped(examples)
    backwards = [batches[n].numbers for n in reversed(range(60))]
    assert in_order == backwards[::-1]
    assert in_order != [grouped(examples, seed=1)[n].numbers for n in range(60)]


def test_epochs_come_in_different_orders(examples):
    batches = grouped(examples)
    assert batches[0].numbers != batches[batches.steps_per_epoch].numbers


def test_grouping_by_length_saves_most_of_the_padding(examples):
    def padded_fraction(batches_per_pool):
        params = GroupedParams(examples_per_batch=4, batches_per_pool=batches_per_pool)
        batches = grouped(examples, params=params)
        made = [batches[n] for n in range(batches.steps_per_epoch)]
        return 1 - sum(b.num_tokens for b in made) / sum(b.input_ids.numel() for b in made)

    assert padded_fraction(20) < 0.06
    assert padded_fraction(1) > 0.2


@pytest.mark.parametrize("parts", [2, 3, 8])
def test_the_parts_of_a_step_hold_its_examples_and_weigh_what_they_label(parts):
    """Steps of 4 examples and a last one of 2; each example labels as many tokens as it has."""
    examples = of_lengths([2, 3, 5, 7, 11, 13], labels_each_word=True)
    whole = grouped(examples)
    cut = dataclasses.replace(whole, parts=parts)
    for step in range(2 * whole.steps_per_epoch):
        batches = [cut[step * parts + part] for part in range(parts)]
        counted = [batch for batch in batches if batch.weight]
        assert sum((b.numbers for b in counted), ()) == whole[step].numbers
        labels = [int((b.targets != IGNORED).sum()) for b in batches]
        assert sum(b.num_tokens for b in batches) == sum(labels) == whole[step].num_tokens
        assert [b.weight * sum(labels) for b in batches] == pytest.approx(
            [parts * own for own in labels]
        )


def test_what_is_padded_is_masked_and_has_no_target():
    batch = collate(of_lengths([2, 4], labels_each_word=True), [0, 1], pad_id=9)
    assert batch.input_ids.tolist() == [[7, 7, 9, 9], [7, 7, 7, 7]]
    assert batch.attention_mask.tolist() == [[1, 1, 0, 0], [1, 1, 1, 1]]
    assert batch.cases.tolist() == [[2, 2, 0, 0], [2, 2, 2, 2]]
    assert batch.unit_of.tolist() == [[0, 1, NO_UNIT, NO_UNIT], [0, 1, 2, 3]]
    assert batch.targets.tolist() == [[3, 3, IGNORED, IGNORED], [3, 3, 3, 3]]
    assert (batch.num_tokens, batch.num_slots) == (6, 6)


def test_the_real_tokens_are_found_again_end_to_end():
    batch = collate(of_lengths([2, 4]), [0, 1], pad_id=9)
    assert batch.input_ids.flatten()[batch.places].tolist() == [7] * 6
    assert batch.packing.position_ids.tolist() == [[0, 1, 0, 1, 2, 3]]
    assert batch.packing.segment_ids.tolist() == [[0, 0, 1, 1, 1, 1]]
    assert batch.packing.bounds.tolist() == [0, 2, 6]
    assert batch.packing.longest == 4


def test_a_text_has_one_target():
    assert collate(of_lengths([2, 4, 3]), [2, 1], pad_id=0).targets.tolist() == [[2], [1]]


def test_a_batch_can_be_put_on_a_device():
    batch = collate(of_lengths([2, 4]), [0, 1], pad_id=0).on(torch.device("meta"))
    assert {batch.input_ids.device.type, batch.targets.device.type} == {"meta"}


def test_ordered_batches_hold_each_example_once_shortest_first(examples):
    batches = list(OrderedBatches(examples=examples, examples_per_batch=8, pad_id=0))
    assert sorted(n for batch in batches for n in batch.numbers) == list(range(90))
    widths = [batch.input_ids.shape[1] for batch in batches]
    assert widths == sorted(widths)


@pytest.mark.parametrize("wrong", [{"examples_per_batch": 0}, {"batches_per_pool": 0}])
def test_a_batch_of_no_examples_is_refused(wrong):
    with pytest.raises(ConfigError, match=r"must be 1 or more"):
        GroupedParams(**{"examples_per_batch": 4, "batches_per_pool": 5, **wrong})
