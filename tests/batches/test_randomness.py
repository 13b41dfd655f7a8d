from itertools import product

from vertiform.batches.randomness import Purpose, generator, torch_seed

COUNTERS = list(product((0, 1), Purpose, (0, 1, 2)))


def test_equal_counters_draw_equal_numbers():
    draw = generator(3, Purpose.ORDER, 7).random(4)
    assert (draw == generator(3, Purpose.ORDER, 7).random(4)).all()
    assert torch_seed(3, Purpose.DROPOUT, 7) == torch_seed(3, Purpose.DROPOUT, 7)


def test_no_two_counters_share_a_draw():
    assert len({generator(*counters).random() for counters in COUNTERS}) == len(COUNTERS)
    assert len({torch_seed(*counters) for counters in COUNTERS}) == len(COUNTERS)


def test_a_draw_is_the_same_in_every_version():
    # A run begun under an older release goes on under a newer one: these numbers are a promise.
    assert torch_seed(20260801, Purpose.DROPOUT, 12) == 7_096_536_043_226_263_117
    assert generator(20260801, Purpose.ORDER, 3).permutation(6).tolist() == [1, 0, 4, 5, 2, 3]
