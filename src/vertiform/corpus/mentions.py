"""Names of code in the sentences of a docstring, with the type that its markup gave them.

A sentence is left out rather than guessed at: when it has code of no stated type, a word that is
also a name elsewhere in the docstring, or a name of two types.
"""

import builtins
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from vertiform.corpus.markup import Prose, Span, to_prose

TOKEN = re.compile(r"\w+(?:\.\w+)*|[^\w\s]")
OUTSIDE = "O"

_SENTENCE_END = re.compile(r"(?<=[.!?])(?<!e\.g\.)(?<!i\.e\.)(?<!cf\.)(?<!vs\.)\s+(?=[A-Z\"'(])")
_NAME = re.compile(r"[A-Za-z_][\w.]*")
_VALUE = re.compile(r"None|True|False|null|true|false|[^A-Za-z]*|(['\"]).*\1")
_EXCEPTION_NAME = re.compile(r"(?:.*\.)?[A-Z]\w*(?:Error|Exception|Warning)")
_BUILTIN_EXCEPTIONS = frozenset(
    name
    for name, value in vars(builtins).items()
    if isinstance(value, type) and issubclass(value, BaseException)
)
# `max_iter`, `a.b`, `DataFrame`, `x1`: no English word looks like it.
_LOOKS_LIKE_CODE = re.compile(r".*_.*|\w*[A-Za-z]\w*\.\w+.*|.*[a-z][A-Z].*|[A-Za-z]+\d\w*")
_ABBREVIATIONS = frozenset({"e.g", "i.e", "a.k.a", "w.r.t"})


@dataclass(frozen=True, slots=True)
class Sentence:
    """Tokens with BIO tags: `B-<type>` on a name (one token, dots included), O elsewhere."""

    tokens: tuple[str, ...]
    tags: tuple[str, ...]


def sentences_of(docstring: str, *, type_of_kind: Mapping[str, str]) -> Iterator[Sentence]:
    """Yield the sentences whose every name has a type, in order; some have no name at all.

    type_of_kind: what a markup kind (see Span) counts as; other kinds are code of no stated type.
    """
    prose = to_prose(docstring)
    names = _types_of_names(prose, type_of_kind)
    marks = _Marks(prose, names, type_of_kind)
    for start, end in _sentence_ranges(prose):
        sentence = marks.tagged(start, end)
        if sentence is not None:
            yield sentence


def _types_of_names(prose: Prose, type_of_kind: Mapping[str, str]) -> dict[str, set[str]]:
    """Every type that the docstring's markup gives a name, entries of its sections included."""
    names: dict[str, set[str]] = defaultdict(set)
    for span in prose.spans:
        kind = _kind(span.kind, prose.text[span.start : span.end])
        if kind in type_of_kind:
            names[prose.text[span.start : span.end]].add(type_of_kind[kind])
    return names


def _kind(kind: str, name: str) -> str:
    # Authors write :class:`ValueError` and :exc:`ValueError`; one name has one type here.
    return "exception" if kind == "class" and _EXCEPTION_NAME.fullmatch(name) else kind


class _Marks:
    """What is known of each place of a docstring's prose."""

    def __init__(
        self, prose: Prose, names: Mapping[str, set[str]], type_of_kind: Mapping[str, str]
    ) -> None:
        self.text = prose.text
        self.names = names
        self.type_at: dict[tuple[int, int], str] = {}
        self.values: set[int] = set()  # characters of literals such as `None` and `"abc"`
        self.unknown: list[Span] = []
        for span in prose.spans:
            self._place(span, type_of_kind)

    def _place(self, span: Span, type_of_kind: Mapping[str, str]) -> None:
        shown = self.text[span.start : span.end]
        kind = _kind(span.kind, shown)
        if kind in type_of_kind:
            self.type_at[span.start, span.end] = type_of_kind[kind]
            return
        name = shown.removesuffix("()")
        types = self.names.get(name, set())
        if len(types) == 1:
            self.type_at[span.start, span.start + len(name)] = next(iter(types))
        elif name in _BUILTIN_EXCEPTIONS and "exception" in type_of_kind and not types:
            self.type_at[span.start, span.start + len(name)] = type_of_kind["exception"]
        elif _VALUE.fullmatch(shown):
            self.values.update(range(span.start, span.end))
        else:
            self.unknown.append(span)

    def tagged(self, start: int, end: int) -> Sentence | None:
        """The sentence at text[start:end], or None if a name in it has no sure type."""
        if self.unknown and any(span.start < end and start < span.end for span in self.unknown):
            return None
        tokens, tags, num_names = [], [], 0
        for match in TOKEN.finditer(self.text, start, end):
            type_of_name = self.type_at.get(match.span())
            if type_of_name is None and match.start() not in self.values:
                type_of_name, is_sure = self._unmarked(match)
                if not is_sure:
                    return None
            num_names += match.span() in self.type_at
            tokens.append(match[0])
            tags.append(OUTSIDE if type_of_name is None else f"B-{type_of_name}")
        marked = sum(start <= first and last <= end for first, last in self.type_at)
        # A mark that is no whole token, as in `x`s: the sentence cannot be tagged.
        return Sentence(tuple(tokens), tuple(tags)) if marked == num_names else None

    def _unmarked(self, match: re.Match[str]) -> tuple[str | None, bool]:
        """The type of a token without markup, and whether that is sure."""
        token = match[0]
        types = self.names.get(token)
        if types:  # the docstring marks this very name elsewhere
            return next(iter(types)), len(types) == 1 and _looks_like_code(token)
        if self.text.startswith("(", match.end()) and _NAME.fullmatch(token):
            return None, False  # a call
        return None, not _looks_like_code(token)


@lru_cache(maxsize=1 << 16)
def _looks_like_code(token: str) -> bool:
    return bool(_LOOKS_LIKE_CODE.fullmatch(token)) and token.lower() not in _ABBREVIATIONS


def _sentence_ranges(prose: Prose) -> Iterator[tuple[int, int]]:
    start_of_span = {span.start: span for span in prose.spans}
    paragraph_start = 0
    for paragraph in prose.text.split("\n\n"):
        paragraph_end = paragraph_start + len(paragraph)
        start = _after_entry_names(prose.text, paragraph_start, start_of_span)
        for match in _SENTENCE_END.finditer(prose.text, start, paragraph_end):
            yield start, match.start()
            start = match.end()
        yield start, paragraph_end
        paragraph_start = paragraph_end + 2


def _after_entry_names(text: str, start: int, start_of_span: Mapping[int, Span]) -> int:
    """Skip "axis, out: " of an entry: a name before a colon would be given away by its place."""
    at = start
    while (span := start_of_span.get(at)) is not None:
        after = text[span.end : span.end + 2]
        if after == ": ":
            return span.end + 2
        if after != ", ":
            break
        at = span.end + 2
    return start
