"""Trains a tokenizer, the same bytes for the same text, and writes what transformers loads.

WordPiece (BERT's normalizer, each CJK character a word of its own) or byte-level BPE.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
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

from vertiform.corpus.extension import PREFIX, word_counts
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
CHECKPOINT = "checkpoint"
KINDS = ("wordpiece", "byte_level_bpe", CHECKPOINT)
UNBOUNDED_TOKENS = 10**30  # transformers' own "no limit": the model's length is the run's affair


@dataclass(frozen=True)
class TokenizerParams:
    """domains.<domain>.tokenize.tokenizer of params.yaml. Each kind has keys of its own."""

    kind: str  # wordpiece | byte_level_bpe, trained on the domain's text; or checkpoint
    vocab_size: int | None = None  # tokens, the five special ones among them
    lowercase: bool | None = None  # wordpiece only: also strips accents, as BERT uncased does
    max_alphabet_characters: int | None = None  # wordpiece only: rarer characters become [UNK]
    checkpoint: str | None = None  # whose tokenizer is taken: see vertiform/checkpoint_names.py
    extend_by: int | None = None  # tokens added to it, picked by what they save on the domain
    online: bool = False  # may a checkpoint on the hub be downloaded?


# The keys that each kind must have; a trained byte_level_bpe ignores the other two.
_TRAINED = ("vocab_size", "lowercase", "max_alphabet_characters")
_OF_CHECKPOINT = ("checkpoint", "extend_by")
_NEEDED = {"wordpiece": _TRAINED, "byte_level_bpe": ("vocab_size",), CHECKPOINT: _OF_CHECKPOINT}


@dataclass(frozen=True)
class DomainTokenizer:
    """The tokenizer of a domain. kind as in the manifest: "wordpiece" or "byte_level_bpe".

    special_tokens: by role: pad, unk, cls, sep, mask.
    extended_from:  the checkpoint's own, where tokens were added to it.
    """

    tokenizer: Tokenizer
    kind: str
    special_tokens: Mapping[str, str]
    extended_from: Tokenizer | None = None

    @property
    def special_ids(self) -> SpecialIds:
        """The ids of the five special tokens."""
        return special_ids(self.tokenizer, self.special_tokens)

    @property
    def vocab_size(self) -> int:
        """One more than the highest id."""
        return 1 + max(self.tokenizer.get_vocab(with_added_tokens=True).values())


def check_keys(params: TokenizerParams, *, domain: str) -> None:
    """Raise ConfigError for an unknown kind, or for keys that its kind lacks or does not have."""
    where = f"domains.{domain}.tokenize.tokenizer"
    if params.kind not in KINDS:
        raise ConfigError(
            f"{where}.kind `{params.kind}` is not a tokenizer.",
            fix=did_you_mean(params.kind, KINDS),
        )
    for key in _NEEDED[params.kind]:
        if getattr(params, key) is None:
            raise ConfigError(
                f"{where}.{key} is missing in params.yaml: kind {params.kind} needs it.",
                fix=f"add `{key}:` to {where}.",
            )
    for key in _TRAINED if params.kind == CHECKPOINT else _OF_CHECKPOINT:
        if getattr(params, key) is not None:
            raise ConfigError(
                f"{where}.{key} says nothing to a tokenizer of kind {params.kind}.",
                fix=f"remove it; kind {params.kind} takes {', '.join(_NEEDED[params.kind])}.",
            )


def train_tokenizer(
    texts: Callable[[], Iterable[str]], params: TokenizerParams, *, domain: str
) -> Tokenizer:
    """Train on `texts()`, which is read twice.

    Raises ConfigError for keys that do not fit, CorpusError if the text holds fewer tokens than
    asked.
    """
    check_keys(params, domain=domain)
    trains = {"wordpiece": _train_wordpiece, "byte_level_bpe": _train_byte_level_bpe}
    tokenizer = trains[params.kind](texts, params)
    reached, asked = tokenizer.get_vocab_size(), int(params.vocab_size or 0)
    if reached < asked:
        raise CorpusError(
            f"The text of `{domain}` gives a vocabulary of {reached:,} tokens, not the "
            f"{asked:,} asked for.",
            fix=f"lower domains.{domain}.tokenize.tokenizer.vocab_size in params.yaml to "
            f"{reached:,} or below, or collect more text.",
        )
    if reached > asked:  # the alphabet alone is larger than the vocabulary asked for
        raise CorpusError(
            f"The characters of `{domain}` alone take {reached:,} tokens, more than the "
            f"{asked:,} asked for.",
            fix=f"raise domains.{domain}.tokenize.tokenizer.vocab_size in params.yaml, or lower "
            "max_alphabet_characters beside it.",
        )
    return tokenizer


def special_ids(
    tokenizer: Tokenizer, special_tokens: Mapping[str, str] = SPECIAL_TOKENS
) -> SpecialIds:
    """The ids of the five special tokens."""
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    return SpecialIds(**{role: vocabulary[token] for role, token in special_tokens.items()})


def write_tokenizer(
    folder: Path, tokenizer: Tokenizer, special_tokens: Mapping[str, str] = SPECIAL_TOKENS
) -> None:
    """Write tokenizer.json and tokenizer_config.json, the two that AutoTokenizer needs."""
    tokenizer.save(str(folder / "tokenizer.json"))
    roles = {f"{role}_token": token for role, token in special_tokens.items()}
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
    assert params.vocab_size is not None  # check_keys
    assert params.max_alphabet_characters is not None
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
        lowercase=bool(params.lowercase),
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix=PREFIX)
    return tokenizer


def _alphabet(
    texts: Iterable[str], tokenizer: Tokenizer, max_characters: int
) -> tuple[list[str], list[str]]:
    """The most frequent characters that start a word, and those of them that continue one."""
    counts: Counter[str] = Counter()
    continuing: set[str] = set()
    for word, count in word_counts(texts, tokenizer).items():
        for character in word:
            counts[character] += count
        continuing.update(word[1:])
    by_count = sorted(counts, key=lambda c: (-counts[c], c))[:max_characters]
    return sorted(by_count), sorted(continuing.intersection(by_count))


def _train_byte_level_bpe(texts: Callable[[], Iterable[str]], params: TokenizerParams) -> Tokenizer:
    assert params.vocab_size is not None  # check_keys
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
