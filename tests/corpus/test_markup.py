"""Docstring markup becomes prose, and what it said about names becomes spans over that prose."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vertiform.corpus.markup import to_prose

NUMPYDOC = """
Join arrays along an axis.

Parameters
----------
a1, a2 : sequence of array_like
    The arrays must have the same shape.
axis : int, optional
    The axis along which they are joined.
    Default is 0.

    .. versionadded:: 1.4
*args : object
    More of them.
undescribed : int

Returns
-------
out : ndarray
    The joined array.

Raises
------
ValueError
    If the shapes differ.

See Also
--------
stack : Stack arrays.

Notes
-----
Uses `axis` twice [1]_.

Examples
--------
First this:

>>> join([1], [2])
array([1, 2])

Then that.

References
----------
.. [1] A book.
"""

GOOGLE = """Send a message.

Args:
    message (dict[str, tuple[int]], *optional*): What to send,
        on one line.
    retries: How often.
        Never more than ten.

Returns:
    bool: True if it arrived,
    False otherwise.

Raises:
    TimeoutError: if nobody answers.

Example:
    send("x")
    not_prose()

After the sections.
"""


def named(text):
    prose = to_prose(text)
    return [(prose.text[span.start : span.end], span.kind) for span in prose.spans]


@pytest.mark.parametrize(
    ("markup", "text", "names"),
    [
        (":class:`~a.b.C` is", "C is", [("C", "class")]),
        (":class:`a.b.C`", "a.b.C", [("a.b.C", "class")]),
        (":py:func:`run()`", "run", [("run", "function")]),
        (":meth:`.Session.commit`", "Session.commit", [("Session.commit", "method")]),
        (":mod:`os.path`", "os.path", [("os.path", "module")]),
        (":attr:`!x`", "x", [("x", "attribute")]),
        (":exc:`ValueError`", "ValueError", [("ValueError", "exception")]),
        (":data:`MAX`", "MAX", [("MAX", "data")]),
        (":paramref:`.create.echo`", "create.echo", [("create.echo", "parameter")]),
        (":class:`_orm.Session`", "Session", [("Session", "class")]),
        (":class:`the session <Session>`", "the session", []),
        (":class:`Session <a.b.Session>`", "Session", [("Session", "class")]),
        ("see :ref:`the guide <guide>`", "see the guide", []),
        (":term:`batch`es", "batches", []),
        ("the :math:`n` rows of :math:`\\frac{1}{2}`.", "the n rows of .", []),
        ("``x=1`` and ``a`b``", "x=1 and a`b", [("x=1", "literal"), ("a`b", "literal")]),
        ("`axis` and `~a.B`", "axis and B", [("axis", "literal"), ("B", "literal")]),
        (
            "[`~Trainer.fit`] or [text](http://a.b)",
            "fit or text",
            [("fit", "literal")],
        ),
        ("`text <http://a.b>`_ and `text`__", "text and text", []),
        ("*very* **strong**", "very strong", []),
        ("2 * 3 * 4 and *args, **kwargs", "2 * 3 * 4 and *args, **kwargs", []),
        ("known [Foo2020]_, see [1]_.", "known, see.", []),
        (r"\*args", "*args", []),
        ("a stray ` stays", "a stray ` stays", []),
    ],
)
def test_inline_markup_is_shown_as_a_reader_would_see_it(markup, text, names):
    assert to_prose(markup).text == text
    assert named(markup) == names


def test_numpydoc_sections_become_paragraphs_named_for_what_they_describe():
    assert to_prose(NUMPYDOC).text.split("\n\n") == [
        "Join arrays along an axis.",
        "a1, a2: The arrays must have the same shape.",
        "axis: The axis along which they are joined. Default is 0.",
        "args: More of them.",
        "The joined array.",
        "ValueError: If the shapes differ.",
        "Uses axis twice.",
        "First this:",
        "Then that.",
    ]
    assert named(NUMPYDOC) == [
        ("a1", "parameter"),
        ("a2", "parameter"),
        ("axis", "parameter"),
        ("args", "parameter"),
        ("ValueError", "exception"),
        ("axis", "literal"),
    ]


def test_google_sections_become_paragraphs_named_for_what_they_describe():
    assert to_prose(GOOGLE).text.split("\n\n") == [
        "Send a message.",
        "message: What to send, on one line.",
        "retries: How often. Never more than ten.",
        "True if it arrived, False otherwise.",
        "TimeoutError: if nobody answers.",
        "After the sections.",
    ]
    assert named(GOOGLE)[-1] == ("TimeoutError", "exception")


def test_field_lists_become_paragraphs_named_for_what_they_describe():
    text = """Send.

    :param str message: what to send,
        at most a line
    :type message: str
    :ivar state: how it stands
    :raises OSError: if the line is cut
    :returns: the answer
    :rtype: str
    :copyright: 2020 by somebody.
    """
    assert to_prose(text).text.split("\n\n") == [
        "Send.",
        "message: what to send, at most a line",
        "state: how it stands",
        "OSError: if the line is cut",
        "the answer",
    ]
    assert [kind for _, kind in named(text)] == ["parameter", "attribute", "exception"]


@pytest.mark.parametrize(
    "code",
    [
        ".. code-block:: python\n    :caption: x\n\n    code()\n\n    more()",
        ".. math::\n\n    \\frac{a}{b}",
        ">>> code()\n'its output'",
        "```python\ncode()\n\nmore()\n```",
        "=====  =====\nname   size\n=====  =====\na      1\n=====  =====",
        "+---+---+\n| a | b |\n+---+---+",
        ".. _target:",
        ".. |name| replace:: words",
        ".. a comment\n   of two lines",
        "----------",
    ],
)
def test_code_and_tables_are_dropped_and_the_text_around_them_stays(code):
    assert to_prose(f"Before.\n\n{code}\n\nAfter.").text == "Before.\n\nAfter."


def test_a_block_announced_by_two_colons_is_dropped():
    assert to_prose("For example::\n\n    code()\n\nAfter.").text == "For example:\n\nAfter."
    assert to_prose("First.\n\n::\n\n    code()\n\nAfter.").text == "First.\n\nAfter."


def test_the_words_of_a_note_stay_and_a_version_does_not():
    text = ".. note:: Mind this,\n   and that.\n\n.. versionchanged:: 2.1 Faster now."
    assert to_prose(text).text == "Mind this, and that.\n\nFaster now."


def test_list_items_are_paragraphs_and_titles_that_nobody_knows_stay():
    text = "Transport Options\n=================\n\n* one item,\n  two lines\n- another\n1. a third"
    assert to_prose(text).text.split("\n\n") == [
        "Transport Options",
        "one item, two lines",
        "another",
        "a third",
    ]


PIECES = (*" \n`*:_.~<>[]()|-=#+\\aB", ":class:`", "``", ".. ", "Args:\n", "::")
MARKUP = st.lists(st.sampled_from(PIECES), max_size=80).map("".join)


@given(MARKUP | st.text(max_size=200))
def test_every_span_lies_in_the_text_in_order_and_apart(text):
    prose = to_prose(text)
    end = 0
    for span in prose.spans:
        assert end <= span.start < span.end <= len(prose.text)
        end = span.end


@given(MARKUP)
def test_the_same_text_gives_the_same_prose_with_no_edge_or_double_spaces(text):
    prose = to_prose(text)
    assert prose == to_prose(text)
    assert prose.text == prose.text.strip()
    assert "\n\n\n" not in prose.text


@given(st.lists(st.sampled_from(["the", "quick", "Fox", "jumps.", "over,", "7"]), max_size=30))
def test_text_without_markup_keeps_every_word(words):
    assert to_prose(" ".join(words)).text.split() == words


def test_a_long_text_of_stray_marks_takes_no_longer_than_plain_text():
    began = time.process_time()
    to_prose("`a *b :c:` [d` " * 20_000)
    assert time.process_time() - began < 5  # 0.3 s here; quadratic would be minutes
