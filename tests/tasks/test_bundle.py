import pytest
import torch
from transformers import AutoModel

from tests.tasks.small import tiny_checkpoint
from vertiform.batches.examples import collate
from vertiform.errors import TrainingError
from vertiform.files import read_json, write_json
from vertiform.models.encoder import load_encoder
from vertiform.tasks.bundle import Bundle, BundleFacts, load_tokenizer, read_bundle, write_bundle
from vertiform.tasks.classification import Classification
from vertiform.tasks.network import TaskNetwork

FACTS = BundleFacts(
    task="area",
    kind="classification",
    labels=("high", "low"),
    language="en",
    split_rule="at random",
    start="scratch",
    pooling="mean",
    max_tokens=32,
    temperature=1.5,
    validation={"val/f1_macro": 0.5},
    task_sha256={"train": "0" * 64},
)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tiny_checkpoint(tmp_path_factory.mktemp("tiny"))
    network = TaskNetwork(load_encoder(folder), num_outputs=2, pooling="mean").eval()
    return Bundle(network=network, tokenizer=load_tokenizer(folder), facts=FACTS)


@pytest.fixture
def written(bundle, tmp_path):
    write_bundle(tmp_path / "bundle", bundle)
    return tmp_path / "bundle"


def test_what_is_read_is_what_was_written_bit_for_bit(bundle, written):
    again = read_bundle(written)
    assert again.facts == bundle.facts
    expected = bundle.network.state_dict()
    assert again.network.state_dict().keys() == expected.keys()
    for name, value in again.network.state_dict().items():
        assert torch.equal(value, expected[name]), name


def test_a_bundle_says_the_same_after_it_was_read(bundle, written):
    again = read_bundle(written)
    outputs = []
    for each in (bundle, again):
        (example,) = Classification(labels=("high", "low")).encode(
            [{"text": "w1 w40 w3"}], tokenizer=each.tokenizer, max_tokens=32
        )
        with torch.inference_mode():
            outputs.append(each.network(collate([example], [0], pad_id=0)))
    assert torch.equal(*outputs)


def test_the_same_bundle_is_the_same_bytes(bundle, written, tmp_path):
    write_bundle(tmp_path / "again", bundle)
    assert read_json(tmp_path / "again" / "task.json") == read_json(written / "task.json")


def test_other_tools_load_it_as_an_encoder(bundle, written):
    encoder = AutoModel.from_pretrained(written, add_pooling_layer=False)
    for name, value in encoder.state_dict().items():
        assert torch.equal(value, bundle.network.encoder.state_dict()[name])


def test_a_bundle_is_safetensors_and_json_only(written):
    assert {path.suffix for path in written.iterdir()} == {".json", ".safetensors"}


@pytest.mark.parametrize("name", ["model.safetensors", "head.safetensors", "tokenizer.json"])
def test_a_damaged_file_is_noticed(written, name):
    with (written / name).open("r+b") as file:
        file.seek(-3, 2)
        file.write(b"#")
    with pytest.raises(TrainingError, match=rf"{name} is not what was written(.|\n)*dvc checkout"):
        read_bundle(written)


def test_a_missing_file_is_noticed(written):
    (written / "head.safetensors").unlink()
    with pytest.raises(TrainingError, match=r"head.safetensors is not what was written"):
        read_bundle(written)


def test_a_folder_that_is_no_bundle_says_what_writes_one(tmp_path):
    with pytest.raises(TrainingError, match=r"no fine-tuned model(.|\n)*vertiform finetune"):
        read_bundle(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 99}, r"format 99; this version reads 1"),
        ({"kind": "entites"}, r"unknown kind `entites`(.|\n)*did you mean `entities`"),
    ],
)
def test_a_bundle_of_another_version_is_refused(written, change, message):
    write_json(written / "task.json", {**read_json(written / "task.json"), **change})
    with pytest.raises(TrainingError, match=message):
        read_bundle(written)


def test_a_checkpoint_without_tokenizer_is_refused(tmp_path):
    with pytest.raises(TrainingError, match=r"has no tokenizer.json"):
        load_tokenizer(tmp_path)
