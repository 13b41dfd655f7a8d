import numpy as np

from tests.builders import SPECIAL, tiny_tokens
from vertiform.batches.packed import open_stream
from vertiform.batches.packing import packing_of

CLS, SEP = SPECIAL.cls, SPECIAL.sep


def test_a_piece_begins_at_its_cls_and_each_window_begins_a_piece():
    ids = np.array([[CLS, 5, SEP, CLS, 6, 7], [8, SEP, CLS, 9, SEP, CLS]])
    packing = packing_of(ids, cls_id=CLS)
    assert packing.position_ids.tolist() == [[0, 1, 2, 0, 1, 2], [0, 1, 0, 1, 2, 0]]
    assert packing.segment_ids.tolist() == [[0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 1, 2]]
    assert packing.bounds.tolist() == [0, 3, 6, 8, 11, 12]
    assert packing.longest == 3


def test_position_segment_and_bounds_say_the_same(tmp_path):
    stream = open_stream(tmp_path, tiny_tokens(tmp_path), split="train", window_tokens=32, seed=0)
    ids = stream.windows(3, 8, window_tokens=32).ids
    packing = packing_of(ids, cls_id=CLS)
    lengths = np.diff(packing.bounds.numpy())
    assert lengths.sum() == ids.size
    assert lengths.max() == packing.longest
    expected = np.concatenate([np.arange(length) for length in lengths])
    assert np.array_equal(packing.position_ids.numpy().ravel(), expected)
    segments = packing.segment_ids.numpy()
    assert (segments[:, 0] == 0).all()
    assert (segments[:, -1] + 1).sum() == len(lengths)
