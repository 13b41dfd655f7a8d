import pickle
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import NUM_SPECIAL, SPECIAL, tiny_tokens, write_tokens
from vertiform.batches.packed import PackedBatches, PackedParams, PackedStream, open_stream
from vertiform.batches.randomness import Purpose
from vertiform.errors import ConfigError, CorpusError

CLS, SEP = SPECIAL.cls, SPECIAL.sep
PARAMS = PackedParams(window_tokens=16, windows_per_batch=4, max_validation_windows=8)


def stream_of(
    folder: Path, lengths: list[int], *, max_piece_tokens: int = 14, seed: int | None = 0
) -> PackedStream:
    """A stream over documents of these lengths, in which every token is another number."""
    folder.mkdir(exist_ok=True)
    tokens, offsets = folder / "train.bin", folder / "train.offsets.bin"
    (NUM_SPECIAL + np.arange(sum(lengths))).astype("<u2").tofile(tokens)
    np.cumsum([0, *lengths]).astype("<i8").tofile(offsets)
    return PackedStream(
        tokens=tokens,
        offsets=offsets,
        dtype="uint16",
        cls_id=CLS,
        sep_id=SEP,
        max_piece_tokens=max_piece_tokens,
        seed=seed,
    )


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(0, 40), min_size=1, max_size=20).filter(any),
    max_piece_tokens=st.integers(1, 50),
    seed=st.integers(0, 5),
    epoch=st.integers(0, 3),
)
def test_every_token_comes_exactly_once_an_epoch(
    tmp_path_factory, lengths, max_piece_tokens, seed, epoch
):
    folder = tmp_path_factory.mktemp("stream")
    stream = stream_of(folder, lengths, max_piece_tokens=max_piece_tokens, seed=seed)
    read = stream.read(epoch * stream.tokens_per_epoch, stream.tokens_per_epoch)
    ordinary = read[read >= NUM_SPECIAL]
    assert sorted(ordinary) == list(range(NUM_SPECIAL, NUM_SPECIAL + sum(lengths)))


@settings(max_examples=30, deadline=None)
@given(cuts=st.lists(st.integers(0, 500), max_size=6), seed=st.integers(0, 3))
def test_the_stream_reads_the_same_however_it_is_cut(tmp_path_factory, cuts, seed):
    stream = stream_of(tmp_path_factory.mktemp("stream"), [30, 5, 1, 60, 9], seed=seed)
    whole = stream.read(0, 500)
    ends = [0, *sorted(cuts), 500]
    parts = [stream.read(a, b - a) for a, b in pairwise(ends)]
    assert np.array_equal(np.concatenate(parts), whole)


def test_a_document_keeps_its_order_between_cls_and_sep(tmp_path):
    stream = stream_of(tmp_path, [3, 2], seed=None)
    assert stream.read(0, 9).tolist() == [CLS, 5, 6, 7, SEP, CLS, 8, 9, SEP]


def test_a_long_document_is_cut_into_pieces_that_each_get_cls_and_sep(tmp_path):
    stream = stream_of(tmp_path, [5], max_piece_tokens=2, seed=None)
    assert stream.read(0, 11).tolist() == [CLS, 5, 6, SEP, CLS, 7, 8, SEP, CLS, 9, SEP]


def test_each_epoch_and_each_seed_has_its_own_order(tmp_path):
    first, second = (stream_of(tmp_path, [4] * 30, seed=seed) for seed in (0, 1))
    count = first.tokens_per_epoch
    assert not np.array_equal(first.read(0, count), first.read(count, count))
    assert not np.array_equal(first.read(0, count), second.read(0, count))
    assert np.array_equal(first.read(count, count), first.read(count, count))


def test_a_stream_travels_to_a_loader_process_without_what_it_has_read(tmp_path):
    stream = stream_of(tmp_path, [4] * 3000)
    expected = stream.read(0, 100)
    sent = pickle.dumps(stream)
    assert len(sent) < 2000  # bytes; the split has 24,000
    assert np.array_equal(pickle.loads(sent).read(0, 100), expected)


def batches_of(folder: Path, **changes) -> PackedBatches:
    """Batches that hold what `prepare` was given: ids, uniform draws, progress."""
    manifest = tiny_tokens(folder)
    return PackedBatches(
        **{
            "stream": open_stream(folder, manifest, split="train", window_tokens=16, seed=0),
            "params": PARAMS,
            "prepare": lambda windows, draws, progress: (windows.ids, draws.uniform(2), progress),
            "seed": 0,
            "purpose": Purpose.CORRUPTION,
            **changes,
        }
    )


def test_a_batch_is_full_and_a_function_of_its_number(tmp_path):
    batches = batches_of(tmp_path)
    ids, draw, _ = batches[3]
    assert ids.shape == (4, 16)
    assert (ids != SPECIAL.pad).all()
    ids_again, draw_again, _ = batches[3]
    assert np.array_equal(ids, ids_again)
    assert np.array_equal(draw, draw_again)
    assert not np.array_equal(draw, batches[4][1])
    # Batch n starts where batch n - 1 ended.
    assert np.array_equal(ids.ravel(), batches.stream.read(3 * PARAMS.tokens_per_batch, 64))


@pytest.mark.parametrize("parts", [1, 2, 4])
def test_the_parts_of_a_step_are_together_the_same_step(tmp_path, parts):
    ids, draw, progress = batches_of(tmp_path, total_steps=9)[5]
    batches = batches_of(tmp_path, parts=parts, total_steps=9)
    found = [batches[5 * parts + part] for part in range(parts)]
    assert np.array_equal(np.concatenate([part[0] for part in found]), ids)
    assert np.array_equal(np.concatenate([part[1] for part in found], axis=1), draw)
    assert {part[2] for part in found} == {progress}


def test_progress_runs_from_0_to_1_and_is_1_in_validation(tmp_path):
    batches = batches_of(tmp_path, total_steps=5)
    assert [batches[step][2] for step in range(6)] == [0, 0.25, 0.5, 0.75, 1, 1]
    assert batches_of(tmp_path, total_steps=1)[0][2] == 0
    assert batches_of(tmp_path)[0][2] == 1


def test_windows_that_do_not_divide_into_parts_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"is 4, which does not divide into 3(.|\n)*to 6"):
        batches_of(tmp_path, parts=3)


def test_wide_ids_are_read_too(tmp_path):
    stream = stream_of(tmp_path, [3], seed=None)
    np.array([70_000, 70_001, 70_002], dtype="<u4").tofile(stream.tokens)
    assert replace(stream, dtype="uint32").read(1, 3).tolist() == [70_000, 70_001, 70_002]


def test_an_empty_split_says_what_to_change(tmp_path):
    manifest = write_tokens(tmp_path, {"train": [], "validation": []}, vocab_size=20)
    with pytest.raises(CorpusError, match=r"train\.bin holds no tokens.*\n.*more text"):
        open_stream(tmp_path, manifest, split="train", window_tokens=16, seed=0)


def test_a_window_too_short_is_refused():
    with pytest.raises(ConfigError, match=r"batches\.window_tokens is 2"):
        replace(PARAMS, window_tokens=2)


def test_an_empty_batch_is_refused():
    with pytest.raises(ConfigError, match=r"must be 1 or more"):
        replace(PARAMS, windows_per_batch=0)
