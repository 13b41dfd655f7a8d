"""Which language a text is in, with lingua, and with care for short and mixed texts."""

from functools import cache

from lingua import Language, LanguageDetector, LanguageDetectorBuilder

from vertiform.errors import ConfigError, did_you_mean

# What a text is held against, beside the languages wanted. All 75 that lingua knows take five times
# as long and 1.4 GB, and find Latin and Esperanto in formulas and lists of names.
COMMON = frozenset(
    {"ar", "cs", "de", "en", "es", "fr", "id", "it", "ja", "ko", "nl", "pl", "pt", "ru", "sv", "tr"}
    | {"vi", "zh"}
)
GLANCE_CHARACTERS = 200  # of a text's beginning: enough to let most pass
WINDOW_CHARACTERS = 400  # of its beginning, and of its end, where the glance leaves a doubt
LONG_CONFIDENCE = 0.8  # of a foreign language, in texts that give enough to go by


def check_languages(codes: tuple[str, ...]) -> None:
    """Raise ConfigError if a code is no ISO 639-1 code of a language that lingua knows."""
    for code in codes:
        if code not in _known():
            raise ConfigError(
                f"`{code}` is no language that can be told apart.",
                fix=f"use ISO 639-1 codes in quotes; {did_you_mean(code, _known())}",
            )


def other_language(
    text: str, *, wanted: tuple[str, ...], short_characters: int, short_confidence: float
) -> tuple[str, float] | None:
    """Return (code, confidence) of the language that a text is in if it is none of those wanted.

    A text below `short_characters` gives too little to go by: it counts as foreign only from
    `short_confidence` on. A longer one must be foreign at its beginning and at its end, so that a
    quotation or an example in front does not decide.
    """
    needed = short_confidence if len(text) < short_characters else LONG_CONFIDENCE
    # Three-letter statistics alone are twice as fast, and wrong about one English text in 200:
    # enough to let most pass, not enough to drop one.
    glance = _likeliest(text[:GLANCE_CHARACTERS], _detector(wanted, is_careful=False))
    if glance[0] in wanted:
        return None
    careful = _detector(wanted, is_careful=True)
    code, confidence = _likeliest(text[:WINDOW_CHARACTERS], careful)
    if code in wanted or confidence < needed:
        return None
    if len(text) > WINDOW_CHARACTERS:
        code, confidence = _likeliest(text[-WINDOW_CHARACTERS:], careful)
    return None if code in wanted or confidence < needed else (code, confidence)


def _likeliest(text: str, detector: LanguageDetector) -> tuple[str, float]:
    best = detector.compute_language_confidence_values(text)[0]
    return _code(best.language), best.value


@cache
def _detector(wanted: tuple[str, ...], *, is_careful: bool) -> LanguageDetector:
    codes = sorted({*COMMON, *wanted})
    builder = LanguageDetectorBuilder.from_languages(*(_known()[code] for code in codes))
    return builder.build() if is_careful else builder.with_low_accuracy_mode().build()


@cache
def _known() -> dict[str, Language]:
    return {_code(language): language for language in Language.all()}


def _code(language: Language) -> str:
    return language.iso_code_639_1.name.lower()
