"""Windows of tokens without padding, cut from a stream of shuffled documents.

The stream of one epoch is [CLS] piece [SEP] [CLS] piece [SEP] ... over every piece of the split in
an order drawn from (seed, epoch); epochs follow each other without a gap. Window w is the tokens
w * T to (w + 1) * T of that endless stream, so each token comes once an epoch, and any window can
be read without those before it.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from vertiform.batches.randomness import Purpose, generator
from vertiform.batches.windows import Draws, Prepare, Windows, WindowStream
from vertiform.corpus.manifest import Manifest
from vertiform.errors import ConfigError, CorpusError


@dataclass(frozen=True, kw_only=True)
class PackedParams:
    """conf/batches/packed.yaml: T tokens a window, B windows a batch."""

    window_tokens: int
    windows_per_batch: int
    max_validation_windows: int

    def __post_init__(self) -> None:
        if self.window_tokens < 8:
            raise ConfigError(
                f"batches.window_tokens is {self.window_tokens}: too short to hold a sentence.",
                fix="set batches.window_tokens to 8 or more; 128 is usual for a small encoder.",
            )
        if self.windows_per_batch < 1 or self.max_validation_windows < 1:
            raise ConfigError(
                "batches.windows_per_batch and batches.max_validation_windows must be 1 or more.",
                fix="set both to 1 or more.",
            )

    @property
    def tokens_per_batch(self) -> int:
        """B * T."""
        return self.windows_per_batch * self.window_tokens


@dataclass(frozen=True, kw_only=True)
class PackedStream:
    """The endless token stream of one split of a tokens folder.

    tokens:    <split>.bin, little-endian, the documents' ids without special tokens.
    offsets:   <split>.offsets.bin, int64, the first token of each document, and the end.
    cls_id, sep_id: put around each piece.
    max_piece_tokens: a longer document is cut into pieces of this, which are shuffled apart, so
               that no batch comes from one book.
    seed:      of the order; None keeps the order on disk.

    Reads by memory map: what is open is a view of the file, so memory does not grow with the split.
    """

    tokens: Path
    offsets: Path
    dtype: str
    cls_id: int
    sep_id: int
    max_piece_tokens: int
    seed: int | None

    def __post_init__(self) -> None:
        if self.tokens.stat().st_size == 0:
            raise CorpusError(
                f"{self.tokens} holds no tokens.",
                fix="give the domain more text, or lower the fractions that keep text out of this "
                "split, in params.yaml; then run `dvc repro`.",
            )

    @cached_property
    def tokens_per_epoch(self) -> int:
        """Tokens in one pass, special tokens counted."""
        starts, ends = self._pieces
        return int((ends - starts).sum() + 2 * len(starts))

    def windows(self, first: int, count: int, *, window_tokens: int) -> Windows:
        """Return windows `first` to `first + count` of the stream."""
        read = self.read(first * window_tokens, count * window_tokens)
        return Windows(ids=read.reshape(count, window_tokens))

    def read(self, first: int, count: int) -> np.ndarray:
        """Return the stream's tokens `first` to `first + count`, (count,) int64."""
        read = np.empty(count, dtype=np.int64)
        filled = 0
        while filled < count:
            epoch, start = divmod(first + filled, self.tokens_per_epoch)
            stop = min(start + count - filled, self.tokens_per_epoch)
            self._read_within_epoch(epoch, start, read[filled : filled + stop - start])
            filled += stop - start
        return read

    def _read_within_epoch(self, epoch: int, start: int, into: np.ndarray) -> None:
        order, bounds = self._order_of(epoch)
        starts, ends = self._pieces
        place = int(np.searchsorted(bounds, start, side="right")) - 1  # of the piece that has it
        filled = 0
        while filled < len(into):
            piece = order[place]
            framed = np.empty(ends[piece] - starts[piece] + 2, dtype=np.int64)
            framed[0], framed[-1] = self.cls_id, self.sep_id
            framed[1:-1] = self._mapped[starts[piece] : ends[piece]]
            skipped = max(0, start - int(bounds[place]))
            part = framed[skipped : skipped + len(into) - filled]
            into[filled : filled + len(part)] = part
            filled += len(part)
            place += 1

    def _order_of(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """The pieces in this epoch's order, and where each starts in the epoch's stream."""
        if self._last_order.get("epoch") != epoch:
            starts, ends = self._pieces
            order = np.arange(len(starts))
            if self.seed is not None:
                order = generator(self.seed, Purpose.ORDER, epoch).permutation(len(starts))
            lengths = (ends - starts + 2)[order]
            bounds = np.concatenate(([0], np.cumsum(lengths)))
            self._last_order.update(epoch=epoch, value=(order, bounds))
        return self._last_order["value"]

    @cached_property
    def _last_order(self) -> dict[str, Any]:
        return {}

    @cached_property
    def _mapped(self) -> np.ndarray:
        return np.memmap(self.tokens, dtype=np.dtype(self.dtype).newbyteorder("<"), mode="r")

    @cached_property
    def _pieces(self) -> tuple[np.ndarray, np.ndarray]:
        """First and end token of each piece of each document, (pieces,) int64 each."""
        offsets = np.fromfile(self.offsets, dtype="<i8")
        lengths = np.diff(offsets)
        counts = -(-lengths // self.max_piece_tokens)  # pieces of each document, rounded up
        document = np.repeat(np.arange(len(lengths)), counts)
        nth = np.arange(len(document)) - np.repeat(np.cumsum(counts) - counts, counts)
        starts = offsets[document] + nth * self.max_piece_tokens
        return starts, np.minimum(starts + self.max_piece_tokens, offsets[document + 1])

    def __getstate__(self) -> dict[str, Any]:
        # Without the open map: a loader process opens its own.
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def open_stream(
    folder: Path, manifest: Manifest, *, split: str, window_tokens: int, seed: int | None
) -> PackedStream:
    """Open one split of a tokens folder. A piece and its two special tokens fill a window."""
    return PackedStream(
        tokens=folder / f"{split}.bin",
        offsets=folder / f"{split}.offsets.bin",
        dtype=manifest.dtype,
        cls_id=manifest.special_ids.cls,
        sep_id=manifest.special_ids.sep,
        max_piece_tokens=window_tokens - 2,
        seed=seed,
    )


@dataclass(frozen=True, kw_only=True)
class PackedBatches:
    """Batch n is windows n * B / parts to (n + 1) * B / parts of a stream.

    parts: batches that make up one step of the optimiser: steps of accumulation, times processes.
           Randomness is counted by window, so the B windows of a step and what is drawn for them
           are the same whatever this is.
    total_steps: of the run, for what is scheduled over it; None, in validation, is its end.

    Raises ConfigError if the windows of a step do not divide into the parts.
    """

    stream: WindowStream
    params: PackedParams
    prepare: Prepare
    seed: int
    purpose: Purpose
    parts: int = 1
    total_steps: int | None = None

    def __post_init__(self) -> None:
        windows = self.params.windows_per_batch
        if windows % self.parts:
            raise ConfigError(
                f"batches.windows_per_batch is {windows}, which does not divide into "
                f"{self.parts} parts, one for each process and step of accumulation.",
                fix=f"set batches.windows_per_batch to {-(-windows // self.parts) * self.parts}, "
                "or change trainer.accumulation or the number of devices.",
            )

    def __getitem__(self, number: int) -> Any:
        count = self.params.windows_per_batch // self.parts
        first, tokens = number * count, self.params.window_tokens
        draws = Draws(
            seed=self.seed, purpose=self.purpose, first=first, windows=count, tokens=tokens
        )
        windows = self.stream.windows(first, count, window_tokens=tokens)
        return self.prepare(windows, draws, self._progress(number // self.parts))

    def _progress(self, step: int) -> float:
        """0 at the first step, 1 at the last."""
        if self.total_steps is None:
            return 1.0
        return min(1.0, step / max(1, self.total_steps - 1))
