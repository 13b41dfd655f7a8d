"""Trains a tokenizer, the same bytes for the same text, and writes what transformers loads.

WordPiece (BERT's normalizer, each CJK character a word of its own) or byte-level BPE.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from vertiform.corpus.manifest import SpecialIds
from vertiform.errors import ConfigError, CorpusError, did_you_mean
from vertiform.files import write_json

SPECIAL_TOKENS = {
    "pad": "[PAD]",
    "unk": "[UNK]",
    "cls": "[CLS]",
    "sep": "[SEP]",
    "mask": "[MASK]",
}
PREFIX = "##"  # of a WordPiece that continues a word
KINDS = ("wordpiece", "byte_level_bpe")
UNBOUNDED_TOKENS = 10**30  # transformers' own "no limit": the model's length is the run's affair


@dataclass(frozen=True)
class TokenizerParams:
    """domains.<domain>.tokenize.tokenizer of params.yaml."""

    kind: str  # wordpiece | byte_level_bpe
    vocab_size: int  # tokens, the five special ones among them
    lowercase: bool  # wordpiece only: also strips accents, as BERT uncased does
    max_alphabet_characters: int  # wordpiece only: rarer characters become [UNK]


def train_tokenizer(
    texts: Callable[[], Iterable[str]], params: TokenizerParams, *, domain: str
) -> Tokenizer:
    """Train on `texts()`, which is read twice.

    Raises ConfigError for an unknown kind, CorpusError if the text holds fewer tokens than asked.
    """
    trains = {"wordpiece": _train_wordpiece, "byte_level_bpe": _train_byte_level_bpe}
    if params.kind not in trains:
        raise ConfigError(
            f"domains.{domain}.tokenize.tokenizer.kind `{params.kind}` is not a tokenizer.",
            fix=did_you_mean(params.kind, KINDS),
        )
    tokenizer = trains[params.kind](texts, params)
    reached = tokenizer.get_vocab_size()
    if reached < params.vocab_size:
        raise CorpusError(
            f"The text of `{domain}` gives a vocabulary of {reached:,} tokens, not the "
            f"{params.vocab_size:,} asked for.",
            fix=f"lower domains.{domain}.tokenize.tokenizer.vocab_size in params.yaml to "
            f"{reached:,} or below, or collect more text.",
        )
    if reached > params.vocab_size:  # the alphabet alone is larger than the vocabulary asked for
        raise CorpusError(
            f"The characters of `{domain}` alone take {reached:,} tokens, more than the "
            f"{params.vocab_size:,} asked for.",
            fix=f"raise domains.{domain}.tokenize.tokenizer.vocab_size in params.yaml, or lower "
            "max_alphabet_characters beside it.",
        )
    return tokenizer


def special_ids(tokenizer: Tokenizer) -> SpecialIds:
    """The ids of the five special tokens."""
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    return SpecialIds(**{role: vocabulary[token] for role, token in SPECIAL_TOKENS.items()})


def write_tokenizer(folder: Path, tokenizer: Tokenizer) -> None:
    """Write tokenizer.json and tokenizer_config.json, the two that AutoTokenizer needs."""
    tokenizer.save(str(folder / "tokenizer.json"))
    roles = {f"{role}_token": token for role, token in SPECIAL_TOKENS.items()}
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": UNBOUNDED_TOKENS,
            "clean_up_tokenization_spaces": False,
            **roles,
        },
    )


def _train_wordpiece(texts: Callable[[], Iterable[str]], params: TokenizerParams) -> Tokenizer:
    """The trainer numbers `##x` in the order of a hash map, which differs from run to run, and
    breaks ties by those numbers: tokenizers 0.23 gives two vocabularies for one text. So the
    characters are counted here, and handed over as special tokens, which are numbered first.
    """
    tokenizer = _wordpiece(models.WordPiece(unk_token=SPECIAL_TOKENS["unk"]), params)
    starts, continues = _alphabet(texts(), tokenizer, params.max_alphabet_characters)
    trainer = trainers.WordPieceTrainer(
        vocab_size=params.vocab_size,
        special_tokens=[*SPECIAL_TOKENS.values(), *(PREFIX + c for c in continues)],
        initial_alphabet=starts,
        limit_alphabet=len(starts),
        continuing_subword_prefix=PREFIX,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts(), trainer)
    model = models.WordPiece(
        tokenizer.get_vocab(with_added_tokens=True),
        unk_token=SPECIAL_TOKENS["unk"],
        continuing_subword_prefix=PREFIX,
    )
    return _with_special_tokens(_wordpiece(model, params))


def _wordpiece(model: models.Model, params: TokenizerParams) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True,
        handle_chinese_chars=True,
        strip_accents=params.lowercase,
        lowercase=params.lowercase,
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix=PREFIX)
    return tokenizer


def _alphabet(
    texts: Iterable[str], tokenizer: Tokenizer, max_characters: int
) -> tuple[list[str], list[str]]:
    """The most frequent characters that start a word, and those of them that continue one."""
    chunks: Counter[str] = Counter()
    for text in texts:
        chunks.update(tokenizer.normalizer.normalize_str(text).split())
    counts: Counter[str] = Counter()
    continuing: set[str] = set()
    for chunk, count in chunks.items():
        for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(chunk):
            for character in word:
                counts[character] += count
            continuing.update(word[1:])
    by_count = sorted(counts, key=lambda c: (-counts[c], c))[:max_characters]
    return sorted(by_count), sorted(continuing.intersection(by_count))


def _train_byte_level_bpe(texts: Callable[[], Iterable[str]], params: TokenizerParams) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=params.vocab_size,
        special_tokens=list(SPECIAL_TOKENS.values()),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),  # all 256 bytes: nothing is unknown
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts(), trainer)
    return _with_special_tokens(tokenizer)


def _with_special_tokens(tokenizer: Tokenizer) -> Tokenizer:
    """[CLS] text [SEP], for whoever encodes with special tokens; stored ids have none."""
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS.values()))
    cls, sep = SPECIAL_TOKENS["cls"], SPECIAL_TOKENS["sep"]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{cls} $A {sep}",
        pair=f"{cls} $A {sep} $B:1 {sep}:1",
        special_tokens=[(cls, tokenizer.token_to_id(cls)), (sep, tokenizer.token_to_id(sep))],
    )
    return tokenizer
