import math
from dataclasses import replace

import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer

from tests.builders import tiny_tokens
from tests.training.tiny import ADAMW, MODEL, PACKED, pretrain_tiny
from vertiform.errors import ConfigError, CorpusError, TrainingError
from vertiform.evaluation import names
from vertiform.models.encoder import load_masked_lm
from vertiform.training.budget import Budget
from vertiform.training.metrics import MemorySink


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run long enough to learn: its folder, result and points."""
    folder, sink = tmp_path_factory.mktemp("pretrain"), MemorySink()
    budget = Budget(total_steps=60, validate_every_steps=30)
    packed = replace(PACKED, windows_per_batch=16)
    return folder, pretrain_tiny(folder, sink=sink, budget=budget, batches=packed), sink


def test_the_loss_starts_near_the_log_of_the_vocabulary_and_falls(run):
    _, result, sink = run
    assert sink.of(names.TRAIN_NATS_PER_TOKEN)[1] == pytest.approx(math.log(60), rel=0.05)
    assert result.metrics[names.VAL_NATS_PER_TOKEN] < math.log(60) - 0.3


def test_perplexity_is_e_to_the_loss(run):
    _, result, _ = run
    nats = result.metrics[names.VAL_NATS_PER_TOKEN]
    # Lightning keeps a logged value as float32.
    assert result.metrics[names.VAL_PERPLEXITY] == pytest.approx(math.exp(nats), rel=1e-6)


def test_what_comes_out_opens_with_transformers_alone(run):
    folder, _, _ = run
    network = AutoModelForMaskedLM.from_pretrained(folder / "run")
    tokenizer = AutoTokenizer.from_pretrained(folder / "run")
    logits = network(**tokenizer("w1 w2 [MASK]", return_tensors="pt")).logits
    assert logits.shape[-1] == 60
    assert len(tokenizer) == 60
    assert torch.isfinite(logits).all()


def test_what_comes_out_is_safetensors_and_json(run):
    folder, _, _ = run
    assert sorted(file.name for file in (folder / "run").iterdir()) == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]


def test_it_counts_what_it_saw(run):
    _, result, _ = run
    assert result.tokens == 60 * 16 * 16
    assert result.parameters == sum(p.numel() for p in load_masked_lm(result.out).parameters())
    assert 1 < result.epochs < 10


def test_validation_is_of_the_same_masked_tokens_whatever_the_seed_and_the_batch(run):
    folder, _, _ = run
    frozen = replace(ADAMW, lr=1e-30)
    losses = []
    for seed, windows in ((1, 4), (2, 4), (1, 5)):
        sink = MemorySink()
        pretrain_tiny(
            folder,
            f"seed-{seed}-{windows}",
            seed=seed,
            batches=replace(PACKED, windows_per_batch=windows),
            start=folder / "run",
            sink=sink,
            optimizer=frozen,
        )
        losses += sink.of(names.VAL_NATS_PER_TOKEN).values()
    assert len(losses) == 9
    assert len(set(losses)) == 1


def test_a_budget_in_tokens_is_rounded_up_to_steps(run):
    folder, _, _ = run
    budget = Budget(total_tokens=PACKED.tokens_per_batch * 2 + 1, validate_every_steps=10)
    assert pretrain_tiny(folder, "by-tokens", budget=budget).fit.steps == 3


def test_going_on_from_a_checkpoint_starts_at_its_loss(run):
    folder, result, _ = run
    sink = MemorySink()
    pretrain_tiny(folder, "continued", start=result.out, sink=sink)
    assert sink.of(names.TRAIN_NATS_PER_TOKEN)[1] < math.log(60) - 0.2


def test_a_start_with_another_tokenizer_is_refused(run, tmp_path):
    _, result, _ = run
    tiny_tokens(tmp_path / "tokens", vocab_size=50)
    with pytest.raises(TrainingError, match=r"made by another tokenizer.*\n.*weights=null"):
        pretrain_tiny(tmp_path, start=result.out)
    assert not (tmp_path / "run").exists()


def test_a_start_without_its_tokenizer_is_refused(run, tmp_path):
    folder, result, _ = run
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("config.json", "model.safetensors"):
        (bare / name).write_bytes((result.out / name).read_bytes())
    with pytest.raises(TrainingError, match=r"bare has no tokenizer\.json"):
        pretrain_tiny(folder, "never", start=bare)


def test_a_window_longer_than_the_model_reads_is_refused(run):
    folder, _, _ = run
    with pytest.raises(ConfigError, match=r"window_tokens is 64, but the model reads at most 32"):
        pretrain_tiny(folder, "never", batches=replace(PACKED, window_tokens=64))


def test_tokens_of_another_domain_are_refused(run):
    folder, _, _ = run
    with pytest.raises(CorpusError, match=r"of the domain `tiny`, not of `legal`"):
        pretrain_tiny(folder, "never", domain="legal")


def test_a_width_that_does_not_fit_its_heads_is_refused():
    with pytest.raises(ConfigError, match=r"model\.width 32 is not a multiple of model\.heads 3"):
        replace(MODEL, heads=3)
