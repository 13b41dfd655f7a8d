"""The collector of cycles is held back for a block, and never for longer."""

import gc

import pytest

from vertiform.tracking.collector import not_collecting


def test_it_is_off_within_and_on_again_after_an_error():
    with pytest.raises(RuntimeError), not_collecting():
        assert not gc.isenabled()
        raise RuntimeError
    assert gc.isenabled()


def test_who_had_turned_it_off_finds_it_off():
    gc.disable()
    try:
        with not_collecting():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
