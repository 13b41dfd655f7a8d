"""What language models say of a few windows of validation text."""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from vertiform.batches.packing import Packing
from vertiform.batches.vocabulary import Vocabulary
from vertiform.models.attention import reading
from vertiform.models.vocabulary_loss import probabilities_of
from vertiform.training.samples import Sample

SHOWN_TOKENS = 64  # of a window
BLANKS = 5  # of a window
GUESSES = 3  # for a blank
LONGEST_PROMPT = 32  # tokens
CONTINUED_TOKENS = 12


class Masked(Protocol):
    """What objectives.mlm.MaskedBatch is."""

    @property
    def input_ids(self) -> Tensor: ...

    @property
    def positions(self) -> Tensor: ...

    @property
    def labels(self) -> Tensor: ...


class Blanks(NamedTuple):
    """Some hidden tokens of one window, (1, T).

    text:   its beginning, in which the blanks are numbered from 1.
    places: (n,) int64, of the blanks among the batch's `positions`.
    truth:  what stood there.
    """

    text: str
    places: Tensor
    truth: list[str]


def blanks_of(batch: Masked, vocabulary: Vocabulary) -> Blanks:
    """Choose the first blanks of a window: what is hidden of its selected tokens, not replaced."""
    mask_id = vocabulary.special_ids.mask
    ids = batch.input_ids[0, :SHOWN_TOKENS]
    within = batch.positions[batch.positions < len(ids)]
    places = (ids[within] == mask_id).nonzero().squeeze(1)[:BLANKS]
    mask = vocabulary.text_of([mask_id])
    return Blanks(
        text=_numbered(vocabulary.text_of(ids.tolist()), mask, blanks=len(places)),
        places=places,
        truth=[vocabulary.text_of([label]) for label in batch.labels[places].tolist()],
    )


def guessed(
    network: PreTrainedModel, hidden: Tensor, blanks: Blanks, vocabulary: Vocabulary
) -> Sample:
    """What a masked language model puts into blanks. hidden: (n, D), last states at the blanks."""
    chances, ids = probabilities_of(network, hidden).topk(GUESSES, dim=1)  # (n, GUESSES)
    rows: list[dict[str, str | float]] = []
    for n, truth in enumerate(blanks.truth):
        row: dict[str, str | float] = {"blank": n + 1, "truth": truth}
        for guess in range(GUESSES):
            row[f"guess {guess + 1}"] = vocabulary.text_of([int(ids[n, guess])])
            row[f"probability {guess + 1}"] = rounded(chances[n, guess])
        rows.append(row)
    return Sample(text=blanks.text, rows=rows)


def continued(
    network: PreTrainedModel, batches: Sequence[Any], vocabulary: Vocabulary
) -> list[Sample]:
    """How a causal language model goes on after the first half of a piece of each window, greedily.

    batches: objectives.clm.NextTokenBatch, of one window each.
    """
    halves = [_halved(batch) for batch in batches]
    texts = [prompt for prompt, _ in halves]
    chances: list[list[float]] = [[] for _ in texts]
    for _ in range(CONTINUED_TOKENS):
        best, ids = _next_tokens(network, texts)
        texts = [[*text, token] for text, token in zip(texts, ids, strict=True)]
        for of_text, chance in zip(chances, best, strict=True):
            of_text.append(chance)
    return [
        Sample(
            text=vocabulary.text_of(prompt),
            rows=[
                {
                    "truth": vocabulary.text_of(truth),
                    "continuation": vocabulary.text_of(text[len(prompt) :]),
                    "mean probability": rounded(sum(of_text) / len(of_text)),
                }
            ],
        )
        for (prompt, truth), text, of_text in zip(halves, texts, chances, strict=True)
    ]


def rounded(chance: Any) -> float:
    """To four digits: the last bits of a float differ between machines, and say nothing here."""
    return round(float(chance), 4)


def _numbered(text: str, mask: str, *, blanks: int) -> str:
    """Put [1], [2], ... in the place of the first masks of a text."""
    numbers = iter(range(1, blanks + 1))
    return re.sub(re.escape(mask), lambda found: f"[{next(numbers)}]", text, count=blanks)


def _halved(batch: Any) -> tuple[list[int], list[int]]:
    """The first half of a window's longest piece, and what follows it there."""
    bounds = batch.packing.bounds.tolist()
    first, end = max(pairwise(bounds), key=lambda pair: pair[1] - pair[0])
    ids = batch.input_ids.flatten()[first:end].tolist()
    half = min(max(1, len(ids) // 2), LONGEST_PROMPT)
    return ids[:half], ids[half : half + CONTINUED_TOKENS]


def _next_tokens(
    network: PreTrainedModel, texts: Sequence[Sequence[int]]
) -> tuple[list[float], list[int]]:
    """The most probable next token of each text, and its probability: all texts in one row."""
    device = network.device
    packing = _packing_of([len(text) for text in texts], device)
    ids = torch.tensor([[token for text in texts for token in text]], device=device)  # (1, N)
    read = reading(packing, network, causal=True)
    hidden = network.base_model(ids, **read).last_hidden_state[0]  # (N, D)
    last = hidden[packing.bounds[1:].long() - 1]  # (texts, D)
    best, found = probabilities_of(network, last).max(dim=1)
    return best.tolist(), found.tolist()


def _packing_of(lengths: Sequence[int], device: torch.device) -> Packing:
    """Texts of these lengths in one row, one after the other."""
    bounds = np.concatenate(([0], np.cumsum(lengths)))
    return Packing(
        position_ids=torch.cat([torch.arange(n) for n in lengths])[None].to(device),
        segment_ids=torch.repeat_interleave(torch.tensor(lengths))[None].to(device),
        bounds=torch.from_numpy(bounds.astype(np.int32)).to(device),
        longest=max(lengths),
    )
