import os
import time

import pytest

from vertiform.corpus.parallel import available_processes, in_chunks, in_order


def square(number: int) -> int:
    time.sleep(0.002 * (number % 3))
    return number * number


def process_of(number: int) -> int:
    return os.getpid()


def fail_on_three(number: int) -> int:
    if number == 3:
        raise ValueError("three")
    return number


@pytest.mark.slow
def test_results_come_in_the_order_of_the_items_from_several_processes():
    assert list(in_order(square, range(40), processes=2)) == [n * n for n in range(40)]
    assert os.getpid() not in set(in_order(process_of, range(4), processes=2))


@pytest.mark.slow
def test_items_are_handed_out_as_results_are_taken():
    taken = []

    def items():
        for number in range(1000):
            taken.append(number)
            yield number

    results = in_order(square, items(), processes=2)
    next(results)
    assert len(taken) < 10, "memory stays bounded however many items there are"
    results.close()


@pytest.mark.slow
def test_an_error_in_a_process_is_raised_here():
    with pytest.raises(ValueError, match="three"):
        list(in_order(fail_on_three, range(9), processes=2))


def test_a_single_item_starts_no_process():
    assert list(in_order(process_of, [1], processes=2)) == [os.getpid()]
    assert list(in_order(process_of, [], processes=2)) == []


def test_chunks_hold_every_item_once_and_close_at_their_size():
    chunks = list(in_chunks([5, 1, 1, 9, 1], size_of=int, max_size=6))
    assert chunks == [[5, 1], [1, 9], [1]]


def test_this_process_may_use_at_least_one_core():
    assert available_processes() >= 1
