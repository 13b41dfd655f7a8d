import pytest
import torch

from tests.tasks.small import high_or_low, tiny_checkpoint
from vertiform.inference.predictor import InputError, Predictor
from vertiform.models.encoder import load_encoder
from vertiform.tasks.bundle import Bundle, BundleFacts, load_tokenizer, write_bundle
from vertiform.tasks.network import TaskNetwork


def predictor_of(folder, *, kind, labels, num_outputs):
    pretrained = tiny_checkpoint(folder)
    torch.manual_seed(1)
    network = TaskNetwork(
        load_encoder(pretrained),
        num_outputs=num_outputs,
        pooling="mean",
        sees_case=kind == "entities",
    )
    torch.nn.init.normal_(network.head.weight)  # far from even odds
    facts = BundleFacts(
        task="task",
        kind=kind,
        labels=labels,
        language="en",
        split_rule="at random",
        start="scratch",
        pooling="mean",
        max_tokens=16,
        temperature=1.5,
        validation={},
        task_sha256={},
    )
    bundle = Bundle(network=network.eval(), tokenizer=load_tokenizer(pretrained), facts=facts)
    write_bundle(folder / "bundle", bundle)
    return Predictor.load(folder / "bundle")


@pytest.fixture(scope="module")
def sizes(tmp_path_factory):
    return predictor_of(
        tmp_path_factory.mktemp("sizes"),
        kind="classification",
        labels=("high", "low"),
        num_outputs=2,
    )


@pytest.fixture(scope="module")
def numbers(tmp_path_factory):
    return predictor_of(
        tmp_path_factory.mktemp("numbers"),
        kind="entities",
        labels=("one", "two"),
        num_outputs=5,
    )


TEXTS = [row["text"] for row in high_or_low(12, seed=5)]


def test_an_answer_depends_on_its_text_alone_bit_for_bit(sizes):
    together = sizes.predict(TEXTS)
    assert together == [answer for text in TEXTS for answer in sizes.predict([text])]
    assert together == sizes.predict(TEXTS[::-1])[::-1]


def test_an_answer_has_a_label_its_confidence_and_every_probability(sizes):
    (answer,) = sizes.predict(TEXTS[:1])
    assert answer["confidence"] == max(answer["probabilities"].values())
    assert set(answer["probabilities"]) == {"high", "low"}
    assert sum(answer["probabilities"].values()) == pytest.approx(1.0)


def test_what_is_served_is_what_is_scored(sizes, numbers):
    rows = high_or_low(12, seed=5)
    for served, scored in zip(sizes.predict(TEXTS), sizes.score_rows(rows), strict=True):
        assert served["probabilities"] == scored["probabilities"]
    labelled = [{"tokens": text.split(), "tags": ["O"] * len(text.split())} for text in TEXTS]
    answers = numbers.predict(TEXTS)
    for row, served, scored in zip(labelled, answers, numbers.score_rows(labelled), strict=True):
        begun = [
            word for word, tag in zip(row["tokens"], scored["tags"], strict=True) if tag[0] == "B"
        ]
        assert [entity["text"].split()[0] for entity in served["entities"]] == begun


def test_entities_are_where_their_text_is(numbers):
    text = "w1  w2,\n\tw3 and w4 " * 9  # longer than the network reads at once
    (answer,) = numbers.predict([text])
    assert answer["entities"]
    for entity in answer["entities"]:
        assert text[entity["start"] : entity["end"]] == entity["text"]
        assert entity["type"] in ("one", "two")
        assert 0 <= entity["confidence"] <= 1


def test_no_texts_have_no_answers(sizes, numbers):
    assert sizes.predict([]) == []
    assert numbers.score_rows([]) == []


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (["w1", ""], r"Input 1 is empty"),
        (["  \n"], r"Input 0 is empty"),
        ([3], r"Input 0 is int"),
        ("w1", r"One text was sent where a list is expected"),
    ],
)
def test_what_is_no_text_is_refused(sizes, inputs, message):
    with pytest.raises(InputError, match=message):
        sizes.predict(inputs)


def test_the_predictor_knows_what_it_is(sizes):
    assert (sizes.facts.kind, sizes.facts.labels) == ("classification", ("high", "low"))
