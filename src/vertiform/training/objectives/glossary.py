"""The terms of an industry, which masking takes whole: `myocardial infarction`, not half of it."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vertiform.batches.vocabulary import Vocabulary
from vertiform.errors import ConfigError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class Glossary:
    """Terms of two tokens or more, as a tree of their tokens: node 0 is where all begin.

    steps:  (S,) int64, ascending: node * V + token, for each token that may follow a node.
    leads:  (S,) int64, the node that each step leads to.
    is_end: (nodes,) bool, True where a term is complete.
    opens:  (V,) bool, True of the first token of a term.
    """

    steps: np.ndarray
    leads: np.ndarray
    is_end: np.ndarray
    opens: np.ndarray

    def joined(
        self, is_start: np.ndarray, *, ids: np.ndarray, word_starts: np.ndarray
    ) -> np.ndarray:
        """Return starts of units, (B, T) bool, with those inside a term taken out.

        A term is found where a word starts, ends where one ends, and lies within one window. Of
        two that overlap the left one counts, then the longer.
        """
        joined = is_start.copy()
        flat = joined.reshape(-1)
        free_from = 0
        found = self._found(ids, word_starts)
        for first, end in zip(*(part.tolist() for part in found), strict=True):
            if first >= free_from:
                flat[first] = True
                flat[first + 1 : end] = False
                free_from = end
        return joined

    def _found(self, ids: np.ndarray, word_starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """First and end token, in the flattened windows, of the longest term at each place."""
        tokens = ids.shape[1]
        flat, starts = ids.reshape(-1), word_starts.reshape(-1)
        first = np.flatnonzero(self.opens[flat] & starts)
        ends = np.zeros_like(first)  # 0: nothing found yet
        walking = np.arange(len(first))  # those of `first` that may still become a (longer) term
        node = np.zeros_like(first)
        at = first
        while len(walking):
            wanted = node * len(self.opens) + flat[at]
            step = np.minimum(np.searchsorted(self.steps, wanted), len(self.steps) - 1)
            goes_on = self.steps[step] == wanted
            walking, node, at = walking[goes_on], self.leads[step[goes_on]], at[goes_on] + 1
            is_window_end = at % tokens == 0
            ends_word = is_window_end | starts[np.minimum(at, len(flat) - 1)]
            is_term = self.is_end[node] & ends_word
            ends[walking[is_term]] = at[is_term]
            walking, node, at = (part[~is_window_end] for part in (walking, node, at))
        return first[ends > 0], ends[ends > 0]


def read_glossary(path: Path, vocabulary: Vocabulary) -> Glossary:
    """Read a text file with one term a line.

    A term is found as it is written there, but for what the tokenizer itself makes alike, such as
    capitals. Raises ConfigError for a file that is missing, not UTF-8, or of no use.
    """
    terms = _lines_of(path)
    encoded = vocabulary.encode(terms)
    is_written = [
        not any(vocabulary.is_special[list(form)].any() for form in forms) for forms in encoded
    ]
    known = set().union(*(f for f, is_known in zip(encoded, is_written, strict=True) if is_known))
    if not known:
        raise ConfigError(
            f"No term of the glossary {path} can be written with this vocabulary; the first is "
            f"`{terms[0]}`.",
            fix="name a glossary in the language of the domain, or set objective.glossary=null.",
        )
    unwritten = [term for term, is_known in zip(terms, is_written, strict=True) if not is_known]
    if unwritten:
        logger.warning(
            "%d of %d terms of %s have characters that the vocabulary lacks, so no text holds "
            "them: %s.",
            *(len(unwritten), len(terms), path, ", ".join(unwritten[:5])),
        )
    return glossary_of(known, vocab_size=vocabulary.size)


def glossary_of(terms: Iterable[tuple[int, ...]], *, vocab_size: int) -> Glossary:
    """Build the tree of terms, each its tokens. Those of one token are whole anyway."""
    leads: dict[int, int] = {}
    complete = set()
    opens = np.zeros(vocab_size, dtype=bool)
    for term in terms:
        if len(term) < 2:
            continue
        opens[term[0]] = True
        node = 0
        for token in term:
            node = leads.setdefault(node * vocab_size + token, len(leads) + 1)
        complete.add(node)
    is_end = np.zeros(len(leads) + 1, dtype=bool)
    is_end[list(complete)] = True
    steps = np.array(sorted(leads), dtype=np.int64)
    return Glossary(
        steps=steps,
        leads=np.array([leads[step] for step in steps.tolist()], dtype=np.int64),
        is_end=is_end,
        opens=opens,
    )


def _lines_of(path: Path) -> list[str]:
    say_null = "or set objective.glossary=null to mask without one."
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise ConfigError(
            f"The glossary {path} does not exist.",
            fix=f"name a text file with one term a line as objective.glossary, {say_null}",
        ) from None
    except (UnicodeDecodeError, IsADirectoryError) as error:
        raise ConfigError(
            f"The glossary {path} is no text in UTF-8: {error}.",
            fix=f"save it as a text file in UTF-8, one term a line, {say_null}",
        ) from error
    terms = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not terms:
        raise ConfigError(
            f"The glossary {path} holds no term.", fix=f"write one term a line, {say_null}"
        )
    return terms
