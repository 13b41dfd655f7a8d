"""Names of code keep the type that markup gave them; what is unsure is left out, not guessed."""

import pytest

from vertiform.corpus.mentions import sentences_of

TYPES = {
    "class": "class",
    "function": "function",
    "method": "function",
    "parameter": "parameter",
    "exception": "exception",
}


def tagged(docstring):
    return [
        " ".join(
            t if tag == "O" else f"<{tag}:{t}>" for t, tag in zip(s.tokens, s.tags, strict=True)
        )
        for s in sentences_of(docstring, type_of_kind=TYPES)
    ]


def test_roles_give_names_their_types_and_leave_no_markup():
    text = "Call :meth:`~a.Session.commit` of a :class:`Session`, or :func:`run()`. Then rest."
    assert tagged(text) == [
        "Call <B-function:commit> of a <B-class:Session> , or <B-function:run> .",
        "Then rest .",
    ]


def test_a_literal_that_an_entry_names_is_that_parameter():
    text = "Sum over ``axis``.\n\nParameters\n----------\naxis : int\n    Which of them."
    assert tagged(text) == ["Sum over <B-parameter:axis> .", "Which of them ."]


def test_the_head_of_an_entry_is_not_part_of_a_sentence():
    text = "Args:\n    first, second: Both are needed.\n    echo: Say it."
    assert tagged(text) == ["Both are needed .", "Say it ."]


def test_an_unmarked_name_that_no_word_looks_like_is_tagged_as_elsewhere_in_the_docstring():
    text = "Set :paramref:`max_rows`. More max_rows are slower."
    assert tagged(text) == [
        "Set <B-parameter:max_rows> .",
        "More <B-parameter:max_rows> are slower .",
    ]


@pytest.mark.parametrize(
    "sentence",
    [
        "The data is read.",  # may be the parameter `data`, may be the word
        "Use other_name instead.",  # code without a type
        "Use OtherName instead.",
        "Use other() instead.",
        "Use ``other`` instead.",  # a literal that nothing explains
        "Use ``data=1`` instead.",
        "Use :data:`MAX` instead.",  # a kind that is no type of ours
        "Give it as ``data``s.",  # marked, but no whole word
        "Use os.path here.",
    ],
)
def test_a_sentence_with_an_unsure_name_is_left_out(sentence):
    text = f"Read it. {sentence} Be done.\n\n:param data: of any kind"
    assert tagged(text) == ["Read it .", "Be done .", "of any kind"]


def test_a_name_of_two_types_is_sure_only_where_it_is_marked():
    text = "See :func:`state_dict`. Give ``state_dict``. Now state_dict.\n\n:param state_dict: what"
    assert tagged(text) == ["See <B-function:state_dict> .", "what"]


@pytest.mark.parametrize("value", ["``None``", "``True``", "``0.5``", "``'abc'``", "``-1``"])
def test_values_are_no_names(value):
    (sentence,) = tagged(f"By default it is {value} here.")
    assert "<" not in sentence


def test_exceptions_are_known_by_role_by_name_and_as_builtins():
    text = "Raises :exc:`Stop`, :class:`a.ParseError` and ``KeyError``."
    assert tagged(text) == [
        "Raises <B-exception:Stop> , <B-exception:a.ParseError> and <B-exception:KeyError> ."
    ]


def test_abbreviations_end_no_sentence_and_are_no_code():
    assert tagged("Some, e.g. These or i.e. those. Next.") == [
        "Some , e.g . These or i.e . those .",
        "Next .",
    ]
