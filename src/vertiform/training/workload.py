"""What a pretraining run trains and reads: built once, for the run itself and for its plan."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vertiform.batches.loading import BatchRange
from vertiform.batches.mixture import MixedStream, MixtureParams, mixed, read_replayed
from vertiform.batches.packed import PackedBatches, PackedParams, open_stream
from vertiform.batches.pairs import open_pairs
from vertiform.batches.randomness import Purpose
from vertiform.batches.vocabulary import Vocabulary, read_vocabulary
from vertiform.batches.windows import Prepare, WindowStream
from vertiform.corpus.manifest import Manifest, read_manifest
from vertiform.errors import ConfigError
from vertiform.models.decoder import DecoderParams
from vertiform.models.encoder import EncoderParams
from vertiform.models.extension import extend_embeddings
from vertiform.training.budget import Budget
from vertiform.training.continued import resolve_start
from vertiform.training.modules import Objective
from vertiform.training.optimizers import AdamW, Muon
from vertiform.training.samples import TEXTS, spread
from vertiform.training.schedules import Schedule

# Not the run's own, so that validation losses of two runs are of the same masked tokens.
VALIDATION_SEED = 0
VALIDATION_WINDOWS_PER_BATCH = 32

NO_REPLAY = MixtureParams(replay={})


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a run pretrains, apart from its text and its place: conf/pretrain.yaml.

    monitor: the metric of validation whose best weights are kept; less is better.
    """

    model: EncoderParams | DecoderParams
    objective: Objective
    optimizer: AdamW | Muon
    schedule: Schedule
    batches: PackedParams
    budget: Budget
    seed: int
    monitor: str
    mixture: MixtureParams = NO_REPLAY


@dataclass(frozen=True, kw_only=True)
class Text:
    """What a run reads. tokens: the folder of its domain; replay: that of each replayed domain."""

    domain: str
    tokens: Path
    replay: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A network, and the numbered batches it is trained and validated on.

    train:      not yet cut into the parts of a step, nor told how many steps there are.
    validation: of the run's own domain, under "", then of each replayed one.
    vocabulary: of the tokens that it reads.
    """

    network: nn.Module
    train: PackedBatches
    validation: Mapping[str, PackedBatches]
    vocabulary: Vocabulary

    @property
    def parameters(self) -> int:
        """How many numbers the network has, shared ones counted once."""
        return sum(p.numel() for p in self.network.parameters())

    @property
    def tokens_per_epoch(self) -> int:
        """Tokens of one pass over the domain's training text, what is replayed counted too."""
        return self.train.stream.tokens_per_epoch

    def training(self, *, parts: int, steps: int) -> PackedBatches:
        """The training batches of a run of so many steps, each cut into so many parts."""
        return replace(self.train, parts=parts, total_steps=steps)

    def validating(self) -> list[BatchRange]:
        """The validation batches of each domain, the same every time."""
        return [
            BatchRange(batches=batches, first=0, last=_batches_of(batches), workers=0)
            for batches in self.validation.values()
        ]

    def shown(self) -> list[Any]:
        """A few windows of the domain's validation, a batch each, masked as they are there."""
        batches = self.validation[""]
        windows = _batches_of(batches) * batches.params.windows_per_batch
        alone = replace(batches, params=replace(batches.params, windows_per_batch=1))
        return [alone[number] for number in spread(windows, TEXTS)]

    def achieved_shares(self, *, windows: int) -> dict[str, float]:
        """Which share of so many training windows comes from each domain; {} without replay."""
        stream = self.train.stream
        return stream.achieved(windows) if isinstance(stream, MixedStream) else {}


def build_workload(recipe: Recipe, text: Text, *, start: str | Path | None) -> Workload:
    """Build the network, new or from the checkpoint `start`, and open what it reads.

    New weights are drawn from torch's generator, which is seeded here.
    Raises ConfigError, CorpusError or TrainingError for what does not go together.
    """
    manifest = read_manifest(text.tokens, domain=text.domain)
    replayed = read_replayed(
        recipe.mixture, folders=text.replay, domain=text.domain, tokens=text.tokens
    )
    vocabulary = read_vocabulary(text.tokens, manifest)
    torch.manual_seed(recipe.seed)  # of the weights drawn; training reseeds at each step
    network = _network(recipe, text, vocabulary, start=start)
    _check_window_fits(recipe, network)

    read = _Reader(recipe=recipe, vocabulary=vocabulary)
    others = {name: text.replay[name] for name in replayed}
    stream = mixed(
        read.stream(text.tokens, manifest, split="train", seed=recipe.seed),
        {
            name: read.stream(folder, replayed[name], split="train", seed=recipe.seed)
            for name, folder in others.items()
        },
        recipe.mixture,
        domain=text.domain,
    )
    return Workload(
        network=network,
        train=PackedBatches(
            stream=stream,
            params=recipe.batches,
            prepare=read.prepare,
            seed=recipe.seed,
            purpose=Purpose.CORRUPTION,
        ),
        validation={
            "": read.validation(text.tokens, manifest),
            **{name: read.validation(others[name], replayed[name]) for name in others},
        },
        vocabulary=vocabulary,
    )


@dataclass(frozen=True, kw_only=True)
class _Reader:
    """Opens streams and batches as an objective wants them."""

    recipe: Recipe
    vocabulary: Vocabulary

    @property
    def prepare(self) -> Prepare:
        return self.recipe.objective.preparer(self.vocabulary)

    def stream(
        self, folder: Path, manifest: Manifest, *, split: str, seed: int | None
    ) -> WindowStream:
        window_tokens = self.recipe.batches.window_tokens
        if self.recipe.objective.reads == "pairs":
            return open_pairs(
                *(folder, manifest, self.vocabulary),
                split=split,
                window_tokens=window_tokens,
                seed=seed,
            )
        return open_stream(folder, manifest, split=split, window_tokens=window_tokens, seed=seed)

    def validation(self, folder: Path, manifest: Manifest) -> PackedBatches:
        """In a fixed order with fixed masks."""
        return PackedBatches(
            stream=self.stream(folder, manifest, split="validation", seed=None),
            params=replace(self.recipe.batches, windows_per_batch=VALIDATION_WINDOWS_PER_BATCH),
            prepare=self.prepare,
            seed=VALIDATION_SEED,
            purpose=Purpose.VALIDATION,
        )


def _network(
    recipe: Recipe, text: Text, vocabulary: Vocabulary, *, start: str | Path | None
) -> nn.Module:
    if start is None:
        return recipe.objective.network(recipe.model, vocabulary=vocabulary)
    found = resolve_start(start, tokens=text.tokens, domain=text.domain)
    network = recipe.objective.loaded(found.folder, dropout=recipe.model.dropout)
    extend_embeddings(network, found.added)
    return network


def _check_window_fits(recipe: Recipe, network: nn.Module) -> None:
    longest = recipe.objective.checkpoint_of(network).config.max_position_embeddings
    if recipe.batches.window_tokens > longest:
        raise ConfigError(
            f"batches.window_tokens is {recipe.batches.window_tokens}, but the model reads at most "
            f"{longest} tokens.",
            fix=f"set batches.window_tokens to {longest} or less, or raise model.max_tokens.",
        )


def _batches_of(batches: PackedBatches) -> int:
    """Batches in one pass over the split, or fewer by max_validation_windows; at least one."""
    windows = batches.stream.tokens_per_epoch // batches.params.window_tokens
    windows = min(windows, batches.params.max_validation_windows)
    return max(1, windows // batches.params.windows_per_batch)
