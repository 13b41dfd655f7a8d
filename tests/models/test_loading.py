"""A checkpoint of a stranger: read as numbers, never run."""

import json
import pickle
from pathlib import Path

import pytest

from tests.builders import SPECIAL, tiny_tokens
from vertiform.errors import TrainingError
from vertiform.models.decoder import load_decoder
from vertiform.models.encoder import EncoderParams, build_masked_lm, load_encoder, load_masked_lm
from vertiform.models.loading import read_config, save_checkpoint
from vertiform.tasks.bundle import load_tokenizer

SIZE = EncoderParams(width=16, depth=1, heads=2, feed_forward_width=32, max_tokens=32, dropout=0.0)


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


@pytest.fixture
def checkpoint(tmp_path):
    tiny_tokens(tmp_path / "tokens", vocab_size=60)
    network = build_masked_lm(SIZE, vocab_size=60, pad_id=SPECIAL.pad)
    save_checkpoint(network, tokenizer=tmp_path / "tokens", out=tmp_path / "stranger")
    return tmp_path / "stranger"


@pytest.fixture
def marker(tmp_path):
    return tmp_path / "it-ran"


def bring_code(checkpoint: Path, marker: Path, **changed: str) -> None:
    """Name code of the checkpoint's own for everything that transformers would load by name."""
    (checkpoint / "evil.py").write_text(
        f"from pathlib import Path\nPath({str(marker)!r}).touch()\n"
    )
    kinds = ("AutoConfig", "AutoModel", "AutoModelForMaskedLM", "AutoModelForCausalLM")
    auto_map = dict.fromkeys(kinds, "evil.Evil") | {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}
    for name in ("config.json", "tokenizer_config.json"):
        values = json.loads((checkpoint / name).read_text())
        (checkpoint / name).write_text(json.dumps(values | {"auto_map": auto_map} | changed))


@pytest.mark.parametrize("load", [read_config, load_encoder, load_masked_lm, load_decoder])
def test_an_unknown_architecture_that_brings_its_code_is_refused(checkpoint, marker, load):
    bring_code(checkpoint, marker, model_type="evil")
    with pytest.raises(TrainingError, match=r"wants to run code that it brings(.|\n)*Fix: name"):
        load(checkpoint)
    assert not marker.exists()


@pytest.mark.parametrize("load", [read_config, load_encoder, load_masked_lm, load_tokenizer])
def test_a_known_architecture_is_loaded_by_its_own_code_alone(checkpoint, marker, load):
    bring_code(checkpoint, marker)
    assert load(checkpoint) is not None
    assert not marker.exists()


def test_a_tokenizer_that_brings_its_code_is_not_run(checkpoint, marker):
    bring_code(checkpoint, marker, tokenizer_class="EvilTokenizer", model_type="evil")
    with pytest.raises(TrainingError, match="wants to run code that it brings"):
        load_tokenizer(checkpoint)
    assert not marker.exists()


@pytest.mark.parametrize("load", [read_config, load_encoder, load_masked_lm, load_decoder])
def test_weights_in_a_pickle_are_refused(checkpoint, marker, load):
    (checkpoint / "model.safetensors").unlink()
    (checkpoint / "pytorch_model.bin").write_bytes(pickle.dumps(Payload(marker)))
    with pytest.raises(TrainingError, match=r"as a pickle \(pytorch_model\.bin\)"):
        load(checkpoint)
    assert not marker.exists()


def test_a_pickle_beside_the_weights_is_not_touched(checkpoint, marker):
    for name in ("pytorch_model.bin", "training_args.bin", "optimizer.pt"):
        (checkpoint / name).write_bytes(pickle.dumps(Payload(marker)))
    load_masked_lm(checkpoint)
    assert not marker.exists()


def test_the_payload_of_these_tests_does_run_where_it_is_unpickled(marker):
    pickle.loads(pickle.dumps(Payload(marker)))
    assert marker.exists()
