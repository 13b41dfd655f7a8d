"""A made language in which words have several tokens, for tests of what is masked together."""

import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers

from tests.builders import NUM_SPECIAL, SPECIAL, SPECIAL_TOKENS
from vertiform.batches.randomness import Purpose
from vertiform.batches.vocabulary import Vocabulary, vocabulary_of
from vertiform.batches.windows import Draws, Windows

NUM_STARTS = 400
NUM_CONTINUING = 100
VOCAB_SIZE = NUM_SPECIAL + NUM_STARTS + NUM_CONTINUING


def vocabulary() -> Vocabulary:
    """`w0` to `w399` start a word; `##c0` to `##c99` go on with it."""
    tokens = [
        *SPECIAL_TOKENS,
        *(f"w{n}" for n in range(NUM_STARTS)),
        *(f"##c{n}" for n in range(NUM_CONTINUING)),
    ]
    ids = {token: place for place, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return vocabulary_of(tokenizer, size=VOCAB_SIZE, special_ids=SPECIAL)


def text_windows(*, windows: int, tokens: int, seed: int = 0) -> Windows:
    """Packed pieces of 5 to 60 tokens; a third of the tokens go on with a word; some are [UNK]."""
    rng = np.random.default_rng(seed)
    stream = np.empty(0, dtype=np.int64)
    while len(stream) < windows * tokens:
        size = rng.integers(5, 60)
        starts = NUM_SPECIAL + rng.integers(NUM_STARTS, size=size)
        goes_on = NUM_SPECIAL + NUM_STARTS + rng.integers(NUM_CONTINUING, size=size)
        piece = np.where(rng.random(size) < 1 / 3, goes_on, starts)
        piece[rng.random(size) < 0.01] = SPECIAL.unk
        stream = np.concatenate((stream, [SPECIAL.cls], piece, [SPECIAL.sep]))
    return Windows(ids=stream[: windows * tokens].reshape(windows, tokens))


def draws_for(windows: Windows, *, seed: int = 0, first: int = 0) -> Draws:
    """The draws of windows that are number `first` and following."""
    number, tokens = windows.ids.shape
    return Draws(seed=seed, purpose=Purpose.CORRUPTION, first=first, windows=number, tokens=tokens)
