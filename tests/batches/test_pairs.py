import pickle
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.builders import NUM_SPECIAL, SPECIAL, tiny_tokens
from vertiform.batches.packed import PackedBatches, PackedParams
from vertiform.batches.pairs import PairStream, open_pairs
from vertiform.batches.randomness import Purpose
from vertiform.batches.vocabulary import read_vocabulary
from vertiform.errors import CorpusError

CLS, SEP = SPECIAL.cls, SPECIAL.sep


def stream_of(
    folder: Path,
    lengths: list[int],
    *,
    seed: int | None = 0,
    max_piece_tokens: int = 12,
    stops: tuple[int, ...] = (),
    continuing: tuple[int, ...] = (),
) -> PairStream:
    """A stream over documents of these lengths, in which every token is another number.

    stops, continuing: places of tokens that end a sentence, or do not start a word.
    """
    folder.mkdir(exist_ok=True)
    tokens, offsets = folder / "train.bin", folder / "train.offsets.bin"
    (NUM_SPECIAL + np.arange(sum(lengths))).astype("<u2").tofile(tokens)
    np.cumsum([0, *lengths]).astype("<i8").tofile(offsets)
    ends_sentence = np.zeros(NUM_SPECIAL + sum(lengths), dtype=bool)
    starts_word = ~ends_sentence
    ends_sentence[[NUM_SPECIAL + place for place in stops]] = True
    starts_word[[NUM_SPECIAL + place for place in continuing]] = False
    return PairStream(
        tokens=tokens,
        offsets=offsets,
        dtype="uint16",
        cls_id=CLS,
        sep_id=SEP,
        max_piece_tokens=max_piece_tokens,
        ends_sentence=ends_sentence,
        starts_word=starts_word,
        seed=seed,
    )


def epoch_of(stream: PairStream, epoch: int = 0) -> np.ndarray:
    """The tokens of one epoch."""
    size = stream.tokens_per_epoch
    return stream.windows(epoch * size, size, window_tokens=1).ids.ravel()


def pairs_of(ids: np.ndarray) -> list[tuple[list[int], ...]]:
    """The texts between [CLS] and [SEP] of an epoch: (A, B), or (A,) of what is no pair."""
    frames = np.split(ids, np.flatnonzero(ids == CLS)[1:])
    texts = [np.split(frame[1:], np.flatnonzero(frame[1:] == SEP) + 1)[:-1] for frame in frames]
    return [tuple(text[:-1].tolist() for text in frame) for frame in texts]


def document_of(token: int, lengths: list[int]) -> int:
    return int(np.searchsorted(np.cumsum(lengths), token - NUM_SPECIAL, side="right"))


LENGTHS = st.lists(st.integers(0, 40), min_size=8, max_size=30).filter(
    # At least 6 documents that are halved, none with over half of the text.
    lambda lengths: sum(n > 1 for n in lengths) > 6 and 2 * max(lengths) < sum(lengths) - 40
)


@settings(max_examples=60, deadline=None)
@given(lengths=LENGTHS, seed=st.none() | st.integers(0, 3), epoch=st.integers(0, 2))
def test_half_of_the_pairs_are_true_and_no_other_has_two_halves_of_a_document(
    tmp_path_factory, lengths, seed, epoch
):
    stream = stream_of(tmp_path_factory.mktemp("pairs"), lengths, seed=seed)
    pairs = [pair for pair in pairs_of(epoch_of(stream, epoch)) if len(pair) == 2]
    assert all(a and b for a, b in pairs)
    is_true = [b[0] == a[-1] + 1 for a, b in pairs]
    assert sum(is_true) == (len(pairs) + 1) // 2
    for (a, b), follows in zip(pairs, is_true, strict=True):
        assert (document_of(a[0], lengths) == document_of(b[0], lengths)) == follows


@settings(max_examples=30, deadline=None)
@given(lengths=LENGTHS, seed=st.none() | st.integers(0, 3), epoch=st.integers(0, 2))
def test_every_token_comes_exactly_once_an_epoch(tmp_path_factory, lengths, seed, epoch):
    stream = stream_of(tmp_path_factory.mktemp("pairs"), lengths, seed=seed)
    ids = epoch_of(stream, epoch)
    ordinary = ids[ids >= NUM_SPECIAL]
    assert sorted(ordinary) == list(range(NUM_SPECIAL, NUM_SPECIAL + sum(lengths)))
    assert set(ids[ids < NUM_SPECIAL]) == {CLS, SEP}  # no padding


@settings(max_examples=30, deadline=None)
@given(first=st.integers(0, 60), count=st.integers(1, 9), tokens=st.integers(8, 50))
def test_a_pair_is_told_where_it_is_whole_in_its_window(tmp_path_factory, first, count, tokens):
    stream = stream_of(tmp_path_factory.mktemp("pairs"), [9, 14, 3, 1, 30, 8, 8, 21], seed=2)
    windows = stream.windows(first, count, window_tokens=tokens)
    for ids, is_next in zip(windows.ids, windows.is_next, strict=True):
        expected = np.full(tokens, -1)
        for begin, end in pairwise([*np.flatnonzero(ids == CLS), tokens]):
            seps = begin + np.flatnonzero(ids[begin:end] == SEP)
            if len(seps) == 2:
                expected[begin] = ids[seps[0] + 1] == ids[seps[0] - 1] + 1
        assert np.array_equal(is_next, expected)


def test_the_stream_reads_the_same_however_it_is_cut(tmp_path):
    stream = stream_of(tmp_path, [30, 5, 1, 60, 9, 22, 17])
    together = stream.windows(3, 40, window_tokens=16)
    alone = [stream.windows(3 + n, 1, window_tokens=16) for n in range(40)]
    assert np.array_equal(together.ids, np.concatenate([each.ids for each in alone]))
    assert np.array_equal(together.is_next, np.concatenate([each.is_next for each in alone]))


def test_a_piece_is_cut_after_the_sentence_that_ends_nearest_to_its_middle(tmp_path):
    def cut_of_first(stops, continuing=()):
        stream = stream_of(tmp_path, [12] * 8, seed=None, stops=stops, continuing=continuing)
        return len(pairs_of(epoch_of(stream))[0][0])

    assert cut_of_first(()) == 6
    assert cut_of_first((3, 4, 9)) == 5
    assert cut_of_first((3, 7)) == 4  # of two as near, the first
    assert cut_of_first((6,)) == 7
    # The end of the piece is no place to cut, nor is one sentence of a word.
    assert cut_of_first((0, 11)) == 6
    # Without a sentence's end in reach, a word stays whole.
    assert cut_of_first((), continuing=(6, 7)) == 8


def test_each_epoch_and_each_seed_has_its_own_pairs_and_a_fixed_order_has_one(tmp_path):
    first, second = (stream_of(tmp_path, [6] * 30, seed=seed) for seed in (0, 1))
    mine, again, next_epoch, other = (
        pairs_of(epoch_of(*each)) for each in [(first, 0), (first, 0), (first, 1), (second, 0)]
    )
    assert mine == again
    for pairs in (next_epoch, other):
        assert [a for a, _ in pairs] != [a for a, _ in mine]  # the order
        assert sorted(pairs) != sorted(mine)  # and what goes with what
    fixed = stream_of(tmp_path, [6] * 30, seed=None)
    assert np.array_equal(epoch_of(fixed, 0), epoch_of(fixed, 1))
    assert [a[0] for a, _ in pairs_of(epoch_of(fixed))] == list(range(5, 185, 6))


def test_the_second_halves_of_a_document_go_to_many_others(tmp_path):
    lengths = [60] * 40
    stream = stream_of(tmp_path, lengths, seed=3)
    partners = [
        (document_of(a[0], lengths), document_of(b[0], lengths))
        for a, b in pairs_of(epoch_of(stream))
        if b[0] != a[-1] + 1
    ]
    assert len(partners) == 100
    assert len({b - a for a, b in partners}) > 20


def test_a_stream_of_pairs_travels_to_a_loader_process_without_what_it_has_read(tmp_path):
    stream = stream_of(tmp_path, [4] * 3000)
    expected = stream.windows(0, 4, window_tokens=32).ids
    sent = pickle.dumps(stream)
    assert len(sent) < 60_000  # bytes; two flags for each of 12,005 tokens, and some
    assert np.array_equal(pickle.loads(sent).windows(0, 4, window_tokens=32).ids, expected)


@pytest.mark.parametrize("parts", [2, 4])
def test_the_parts_of_a_step_are_together_the_same_pairs(tmp_path, parts):
    manifest = tiny_tokens(tmp_path)
    stream = open_pairs(
        tmp_path,
        manifest,
        read_vocabulary(tmp_path, manifest),
        split="train",
        window_tokens=32,
        seed=0,
    )

    def batches(parts: int) -> PackedBatches:
        return PackedBatches(
            stream=stream,
            params=PackedParams(window_tokens=32, windows_per_batch=4, max_validation_windows=8),
            prepare=lambda windows, draws, progress: windows,
            seed=0,
            purpose=Purpose.CORRUPTION,
            parts=parts,
        )

    whole, found = batches(1)[7], [batches(parts)[7 * parts + part] for part in range(parts)]
    assert np.array_equal(np.concatenate([part.ids for part in found]), whole.ids)
    assert np.array_equal(np.concatenate([part.is_next for part in found]), whole.is_next)
    assert (whole.is_next >= 0).any()


@pytest.mark.parametrize("lengths", [[12, 12], [5], [], [200, 12, 12]])
def test_text_that_makes_no_false_pairs_is_refused(tmp_path, lengths):
    with pytest.raises(CorpusError, match=r"too few documents for pairs(.|\n)*objective=mlm"):
        stream_of(tmp_path, lengths)


def test_a_document_longer_than_all_others_together_still_makes_pairs(tmp_path):
    lengths = [100, 12, 12, 12, 12, 12]
    pairs = pairs_of(epoch_of(stream_of(tmp_path, lengths)))
    is_true = [b[0] == a[-1] + 1 for a, b in pairs]
    assert sum(is_true) == (len(pairs) + 1) // 2


def test_reading_pairs_takes_no_time_that_counts(tmp_path):
    stream = stream_of(tmp_path, [60] * 900, max_piece_tokens=60)
    seconds = []
    for first in range(0, 200, 64):
        started = time.perf_counter()
        stream.windows(first, 64, window_tokens=128)
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 0.008  # 2% of a step of 400 ms
