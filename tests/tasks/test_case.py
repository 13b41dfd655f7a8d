import pytest

from vertiform.tasks.case import NUM_CASES, case_of


@pytest.mark.parametrize(
    ("word", "case"),
    [
        ("session", 0),
        ("a_b.c", 0),
        ("3.5", 0),
        ("東京", 0),
        ("HTTP", 1),
        ("MAX_ITER", 1),
        ("A", 1),
        ("Session", 2),
        ("Zürich", 2),
        ("DataFrame", 3),
        ("HTTPServer", 3),
        ("isReady", 4),
        ("_Alias", 4),
    ],
)
def test_capitals_are_told_apart(word, case):
    assert case_of(word) == case < NUM_CASES
