"""Windows of several domains in one stream, in fixed shares: replay against forgetting.

Who trains on a domain alone forgets what the start knew. So some of the windows come from other
domains' tokens (replay), spread evenly through the run. Which window comes from where is a function
of its number, so that any window can be read without those before it, in any number of parts.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import numpy as np

from vertiform.batches.windows import Windows, WindowStream
from vertiform.corpus.manifest import Manifest, read_manifest
from vertiform.errors import ConfigError, CorpusError


@dataclass(frozen=True, kw_only=True)
class MixtureParams:
    """`mixture` of conf/pretrain.yaml.

    replay: of other domains, the share of the training windows that comes from each, 0-1; the rest
            is the run's own. A domain with 0.0 is only validated on.
    """

    replay: Mapping[str, float]

    def __post_init__(self) -> None:
        for domain, share in self.replay.items():
            if not 0 <= share < 1:
                raise ConfigError(
                    f"mixture.replay.{domain} is {share}, not a share of the windows.",
                    fix="write a fraction from 0 (only validated on) to below 1, such as 0.1.",
                )
        if sum(map(_exact, self.replay.values())) >= 1:
            raise ConfigError(
                f"The shares of mixture.replay add up to {sum(self.replay.values()):g}, which "
                "leaves no window for the run's own domain.",
                fix="lower them until they add up to less than 1; 0.05 to 0.3 is usual.",
            )


def read_replayed(
    params: MixtureParams, *, folders: Mapping[str, Path], domain: str, tokens: Path
) -> dict[str, Manifest]:
    """Read the manifest of each replayed domain, in the order of `params.replay`.

    folders: the tokens folder of each. tokens: that of the run's own `domain`.
    Raises ConfigError if a domain replays itself, CorpusError if another tokenizer made its tokens.
    """
    own = read_manifest(tokens, domain=domain)
    found = {}
    for name in params.replay:
        if name == domain:
            raise ConfigError(
                f"mixture.replay names `{domain}`, the domain of the run itself.",
                fix=f"remove mixture.replay.{domain}, or name another domain.",
            )
        found[name] = read_manifest(folders[name], domain=name)
        if found[name].tokenizer.sha256 != own.tokenizer.sha256:
            raise CorpusError(
                f"The tokens of `{name}` were made by another tokenizer than those of `{domain}`, "
                "so one model cannot read both.",
                fix=f"set domains.{name}.tokenize.tokenizer in params.yaml to {{kind: checkpoint, "
                f"checkpoint: {tokens}, extend_by: 0}} and run `dvc repro tokenize@{name}`.",
            )
    return found


def mixed(
    own: WindowStream, replayed: Mapping[str, WindowStream], params: MixtureParams, *, domain: str
) -> WindowStream:
    """Return the stream to train on: `own`, with its share of each replayed stream."""
    shares = {name: share for name, share in params.replay.items() if share > 0}
    if not shares:
        return own
    exact = [_exact(share) for share in shares.values()]
    return MixedStream(
        names=(domain, *shares),
        streams=(own, *(replayed[name] for name in shares)),
        shares=(Fraction(1) - sum(exact), *exact),
    )


@dataclass(frozen=True, kw_only=True)
class MixedStream:
    """Windows of several streams; the first is the run's own domain. shares add up to 1."""

    names: tuple[str, ...]
    streams: tuple[WindowStream, ...]
    shares: tuple[Fraction, ...]

    @cached_property
    def tokens_per_epoch(self) -> int:
        """Tokens of the mixture in which the run's own domain comes once."""
        return int(self.streams[0].tokens_per_epoch / self.shares[0])

    def windows(self, first: int, count: int, *, window_tokens: int) -> Windows:
        """Return windows `first` to `first + count` of the mixture."""
        source = np.array([self._source(first + n) for n in range(count)])  # (B,)
        starts, ends = self.counts(first), self.counts(first + count)
        ids = np.empty((count, window_tokens), dtype=np.int64)
        is_next = None
        for place, stream in enumerate(self.streams):
            if starts[place] == ends[place]:
                continue
            read = stream.windows(
                starts[place], ends[place] - starts[place], window_tokens=window_tokens
            )
            ids[source == place] = read.ids
            if read.is_next is not None:
                is_next = np.empty(ids.shape, dtype=np.int8) if is_next is None else is_next
                is_next[source == place] = read.is_next
        return Windows(ids=ids, is_next=is_next)

    def counts(self, windows: int) -> tuple[int, ...]:
        """How many of the first `windows` come from each stream; exact, less than one off a share
        of what the streams after it were left.
        """
        # Each replayed stream takes its part of what is left: so every count only ever grows.
        left, share_left = windows, Fraction(1)
        replayed = []
        for share in self.shares[1:]:
            taken = left * share // share_left
            replayed.append(int(taken))
            left, share_left = left - int(taken), share_left - share
        return (left, *replayed)

    def achieved(self, windows: int) -> dict[str, float]:
        """The share that each domain really has in a run of so many windows, 0-1."""
        return {
            name: count / windows
            for name, count in zip(self.names, self.counts(windows), strict=True)
        }

    def _source(self, window: int) -> int:
        before, after = self.counts(window), self.counts(window + 1)
        return next(n for n in range(len(before)) if after[n] > before[n])


def _exact(share: float) -> Fraction:
    return Fraction(str(share))  # 0.1 is a tenth
