import pytest

from vertiform.corpus.language import check_languages, other_language
from vertiform.errors import ConfigError

ENGLISH = "Gout is a common and painful form of arthritis. It is caused by crystals in a joint. "
GERMAN = (
    "Die Gicht ist eine schmerzhafte Erkrankung der Gelenke. Sie entsteht durch Kristalle, die "
    "sich bei zu viel Harnsaeure im Blut ablagern, meistens zuerst am Grundgelenk der Zehe. "
)
CHINESE = "\u75db\u98ce\u662f\u4e00\u79cd\u5e38\u89c1\u7684\u5173\u8282\u708e\u3002" * 3


def language_beside(text: str, *wanted: str) -> str | None:
    found = other_language(text, wanted=wanted, short_characters=200, short_confidence=0.95)
    return found and found[0]


@pytest.mark.parametrize(
    ("text", "wanted", "found"),
    [
        (ENGLISH, "en", None),
        (GERMAN, "en", "de"),
        (GERMAN, "de", None),
        (CHINESE, "en", "zh"),
        (CHINESE, "zh", None),
    ],
)
def test_a_text_in_another_language_is_named(text, wanted, found):
    assert language_beside(text * 3, wanted) == found


def test_several_languages_may_be_wanted():
    assert language_beside(GERMAN * 3, "en", "de") is None


@pytest.mark.parametrize("text", ["numpy.ndarray.reshape", "int, optional", "Mirror aiohttp hosts"])
def test_a_short_text_is_kept_unless_surely_foreign(text):
    assert language_beside(text, "en") is None


def test_a_quotation_in_front_does_not_decide():
    assert language_beside(GERMAN * 3 + ENGLISH * 8, "en") is None


def test_a_code_that_is_no_language_is_named():
    with pytest.raises(ConfigError, match=r"`eng` is no language.*\n.*ISO 639-1"):
        check_languages(("en", "eng"))
