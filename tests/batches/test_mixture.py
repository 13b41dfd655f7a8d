"""A mixture keeps its shares at every point of a run, and is the same however it is cut."""

import pickle
from collections import Counter

import numpy as np
import pytest

from tests.builders import documents_of_tokens, write_tokens
from vertiform.batches.mixture import MixedStream, MixtureParams, mixed, read_replayed
from vertiform.batches.packed import PackedBatches, PackedParams, open_stream
from vertiform.batches.randomness import Purpose
from vertiform.batches.windows import Windows
from vertiform.corpus.manifest import read_manifest
from vertiform.errors import ConfigError, CorpusError

T = 16


def domain_tokens(folder, name, *, seed=0, vocab_size=60):
    documents = documents_of_tokens(number=60, mean_tokens=20, vocab_size=vocab_size, seed=seed)
    splits = {"train": documents, "validation": documents[:5], "test": documents[:5]}
    return write_tokens(folder / name / "tokens", splits, vocab_size=vocab_size, domain=name)


def stream_of(folder, name):
    tokens = folder / name / "tokens"
    return open_stream(tokens, read_manifest(tokens), split="train", window_tokens=T, seed=1)


@pytest.fixture
def folder(tmp_path):
    for seed, name in enumerate(("health", "news", "code")):
        domain_tokens(tmp_path, name, seed=seed)
    return tmp_path


def mixture(folder, **replay):
    replayed = {name: stream_of(folder, name) for name in replay}
    params = MixtureParams(replay=replay)
    return mixed(stream_of(folder, "health"), replayed, params, domain="health")


@pytest.mark.parametrize("replay", [{"news": 0.1}, {"news": 0.25, "code": 0.05}, {"code": 0.9}])
def test_the_shares_are_kept_at_every_point_of_a_run(folder, replay):
    stream = mixture(folder, **replay)
    wanted = (1 - sum(replay.values()), *replay.values())
    for windows in range(1, 400):
        counts = stream.counts(windows)
        assert sum(counts) == windows
        for count, share in zip(counts, wanted, strict=True):
            assert abs(count - share * windows) < len(wanted)
    assert stream.achieved(400)["health"] == pytest.approx(wanted[0], abs=len(wanted) / 400)


def test_achieved_shares_are_those_of_what_was_read(folder):
    stream = mixture(folder, news=0.2, code=0.3)
    sources = Counter(stream.names[stream._source(n)] for n in range(137))
    assert {name: count / 137 for name, count in sources.items()} == stream.achieved(137)


def test_every_window_of_each_domain_comes_once_and_in_its_order(folder):
    stream = mixture(folder, news=0.3, code=0.2)
    read = stream.windows(0, 50, window_tokens=T).ids
    source = np.array([stream._source(n) for n in range(50)])
    for place, name in enumerate(("health", "news", "code")):
        own = stream_of(folder, name).windows(0, int((source == place).sum()), window_tokens=T)
        assert np.array_equal(read[source == place], own.ids)


def test_a_window_can_be_read_without_those_before_it_and_in_another_process(folder):
    stream = mixture(folder, news=0.3, code=0.2)
    whole = stream.windows(0, 60, window_tokens=T).ids
    again = pickle.loads(pickle.dumps(stream))
    for first, count in [(0, 1), (7, 13), (59, 1), (20, 40)]:
        assert np.array_equal(
            again.windows(first, count, window_tokens=T).ids, whole[first : first + count]
        )


def test_the_batch_of_a_step_is_the_same_in_any_number_of_parts(folder):
    params = PackedParams(window_tokens=T, windows_per_batch=12, max_validation_windows=4)

    def batch(parts):
        batches = PackedBatches(
            stream=mixture(folder, news=0.3),
            params=params,
            prepare=lambda windows, draws, progress: windows.ids,
            seed=3,
            purpose=Purpose.CORRUPTION,
            parts=parts,
        )
        return np.concatenate([batches[5 * parts + part] for part in range(parts)])

    assert np.array_equal(batch(1), batch(2))
    assert np.array_equal(batch(1), batch(6))


def test_labels_of_pairs_stay_with_their_windows():
    class Pairs:
        """Window n is all n; so are its labels."""

        tokens_per_epoch = 1000

        def __init__(self, sign):
            self.sign = sign

        def windows(self, first, count, *, window_tokens):
            numbers = np.arange(first, first + count)[:, None].repeat(window_tokens, axis=1)
            return Windows(ids=self.sign * numbers, is_next=(self.sign * numbers).astype(np.int8))

    params = MixtureParams(replay={"news": 0.4})
    stream = mixed(Pairs(1), {"news": Pairs(-1)}, params, domain="health")
    read = stream.windows(10, 20, window_tokens=4)
    assert np.array_equal(read.ids, read.is_next)
    assert read.ids.min() < 0 < read.ids.max()


def test_an_epoch_of_a_mixture_is_one_of_its_own_domain(folder):
    own = stream_of(folder, "health").tokens_per_epoch
    assert mixture(folder, news=0.5).tokens_per_epoch == 2 * own


def test_a_domain_that_is_only_validated_on_changes_no_window(folder):
    own = stream_of(folder, "health")
    stream = mixture(folder, news=0.0)
    assert not isinstance(stream, MixedStream)
    read = [s.windows(3, 5, window_tokens=T).ids for s in (own, stream)]
    assert np.array_equal(*read)


@pytest.mark.parametrize("share", [1.0, -0.1, 1.5])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(ConfigError, match=r"mixture\.replay\.news is"):
        MixtureParams(replay={"news": share})


def test_shares_that_leave_nothing_are_refused():
    with pytest.raises(ConfigError, match=r"add up to 1, which leaves no window"):
        MixtureParams(replay={"news": 0.7, "code": 0.3})


def folders_of(folder, *names):
    return {name: folder / name / "tokens" for name in names}


def test_a_domain_does_not_replay_itself(folder):
    with pytest.raises(ConfigError, match=r"names `health`, the domain of the run itself"):
        read_replayed(
            MixtureParams(replay={"health": 0.1}),
            folders=folders_of(folder, "health"),
            domain="health",
            tokens=folder / "health" / "tokens",
        )


def test_tokens_of_another_tokenizer_are_not_mixed_in(folder):
    domain_tokens(folder, "legal", vocab_size=70)
    with pytest.raises(CorpusError, match=r"`legal` were made by another tokenizer") as error:
        read_replayed(
            MixtureParams(replay={"news": 0.1, "legal": 0.1}),
            folders=folders_of(folder, "news", "legal"),
            domain="health",
            tokens=folder / "health" / "tokens",
        )
    assert "dvc repro tokenize@legal" in error.value.fix


def test_tokens_of_the_same_tokenizer_are(folder):
    found = read_replayed(
        MixtureParams(replay={"news": 0.1, "code": 0.0}),
        folders=folders_of(folder, "news", "code"),
        domain="health",
        tokens=folder / "health" / "tokens",
    )
    assert list(found) == ["news", "code"]
