"""Docstring markup into prose: reST, numpydoc and Google style, by scanning (docutils is too slow).

Code, tables and markup go; what the markup said about a name is kept as a span over the prose:

    to_prose("Use :class:`~sqlalchemy.orm.Session` with ``echo``.")
    -> text "Use Session with echo.", spans (4, 11, "class") and (17, 21, "literal")
"""

import re
from dataclasses import dataclass

from vertiform.corpus.markup_blocks import Block, read_blocks

KIND_OF_ROLE = {  # last part of a role's name -> what it says the name is
    "class": "class",
    "exc": "exception",
    "func": "function",
    "meth": "method",
    "mod": "module",
    "attr": "attribute",
    "paramref": "parameter",
    "data": "data",
    "const": "data",
    "obj": "literal",  # code, but of no stated kind
    "any": "literal",
    "code": "literal",
    "samp": "literal",
    "keyword": "literal",
    "envvar": "literal",
    "file": "literal",
    "program": "literal",
    "command": "literal",
    "setting": "literal",
    "rc": "literal",
    "mpltype": "literal",
}
DROPPED_ROLES = frozenset({"math", "doi", "arxiv", "arXiv", "cite", "issue", "ticket", "raw-html"})

# Every construct opens with one of these; most paragraphs have none and skip the scan.
_HAS_MARKUP = re.compile(r"[`*\\\[]")
# Bounded repeats: one stray backtick must not make the scan quadratic.
_INLINE = re.compile(
    r"""
      :(?P<role>[A-Za-z][\w+:.-]{0,40}):`(?P<role_body>[^`]{1,300})`
    | ``(?P<literal>[^`](?:.{0,300}?[^`])??)``(?!`)
    | \[`(?P<code>[^`\s](?:[^`]{0,300}[^`\s])?)`\](?:\([^()\s]{0,300}\))?
    | `(?P<quoted>[^`\s](?:[^`]{0,300}[^`\s])?)`(?P<link>__?(?!\w))?
    | \*\*(?P<strong>[^*\s](?:[^*]{0,300}[^*\s])?)\*\*
    | (?<![\w*])\*(?P<emphasis>[^*\s](?:[^*]{0,300}[^*\s])?)\*(?![\w*])
    | \[(?P<link_text>[^\[\]`]{1,300})\]\([^()\s]{1,300}\)
    | (?P<citation>[ ]?\[[\#*\w-]{1,40}\]_(?!\w))
    | \\(?P<escaped>[^\w\s])
    """,
    re.VERBOSE,
)
_TITLE_AND_TARGET = re.compile(r"(.*?)\s*<[^<>]*>$")
_NAME = re.compile(r"[A-Za-z_]\w*(?:\.\w+)*")
_ALIAS = re.compile(r"_\w+\.(?=\w)")  # SQLAlchemy's `_orm.Session` is shown as `Session`
_SIMPLE_FORMULA = re.compile(r"[\w.,()+=-]{1,12}")  # `n`, `x=0`: reads as prose; LaTeX does not


@dataclass(frozen=True, slots=True)
class Span:
    """A name in a text: `text[start:end]`, and what the markup said it is.

    kind: class, function, method, module, parameter, attribute, exception or data where the markup
    states it; "literal" for code whose kind it does not state.
    """

    start: int
    end: int
    kind: str


@dataclass(frozen=True, slots=True)
class Prose:
    """A text without markup: paragraphs divided by an empty line; spans in order, apart."""

    text: str
    spans: tuple[Span, ...]


def to_prose(text: str) -> Prose:
    """Turn one docstring into prose. Never fails: what is no markup stays as it is."""
    out = _Writer()
    for block in read_blocks(text):
        out.start_paragraph()
        _write_names(block, out)
        if _HAS_MARKUP.search(block.text):
            _write_inline(block.text, out)
        else:
            out.write(block.text)
        out.end_paragraph()
    return out.prose()


class _Writer:
    """Joins pieces into paragraphs and keeps each span's place; two spaces never meet."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.spans: list[Span] = []
        self.length = 0
        self.paragraph_start = 0
        self.at_space = True

    def start_paragraph(self) -> None:
        self.paragraph_start = len(self.pieces)
        self.at_space = True

    def write(self, piece: str, kind: str | None = None) -> None:
        if self.at_space:
            piece = piece.lstrip(" ")
        if not piece:
            return
        if kind is not None:
            self.spans.append(Span(self.length, self.length + len(piece), kind))
        self.pieces.append(piece)
        self.length += len(piece)
        self.at_space = piece[-1] == " "

    def end_paragraph(self) -> None:
        if len(self.pieces) > self.paragraph_start:
            self.pieces.append("\n\n")
            self.length += 2

    def prose(self) -> Prose:
        return Prose("".join(self.pieces).rstrip(), tuple(self.spans))


def _write_names(block: Block, out: _Writer) -> None:
    """`axis, out` of a parameter's entry, before its description: "axis, out: ..."."""
    for number, name in enumerate(block.names):
        out.write(", " if number else "")
        out.write(name, block.kind)
    if block.names:
        out.write(": ")


def _write_inline(text: str, out: _Writer) -> None:
    end = 0
    for match in _INLINE.finditer(text):
        out.write(text[end : match.start()])
        end = match.end()
        found = match.lastgroup
        if found == "role_body":
            _write_role(match["role"].rpartition(":")[2], match["role_body"], out)
        elif found in ("literal", "code", "quoted"):
            _write_literal(match[found], out)
        elif found == "link":
            out.write(_title(match["quoted"]))
        elif found != "citation":
            out.write(match[found or 0])
    out.write(text[end:])


def _write_role(role: str, body: str, out: _Writer) -> None:
    if role in DROPPED_ROLES:
        if _SIMPLE_FORMULA.fullmatch(body):
            out.write(body)
        return
    shown = _title(body.strip())
    if shown.startswith("~"):
        shown = shown.rpartition(".")[2].lstrip("~")
    if role not in KIND_OF_ROLE:  # :ref:, :doc:, :term: and the like are words, not names
        out.write(shown.lstrip("!"))
        return
    shown = _ALIAS.sub("", shown.lstrip("!.").removesuffix("()"))
    # "the session" of :class:`the session <Session>` is not the name the role speaks of.
    out.write(shown, KIND_OF_ROLE[role] if _NAME.fullmatch(shown) else None)


def _write_literal(body: str, out: _Writer) -> None:
    shown = body.strip()
    if shown.startswith("~"):
        shown = shown.rpartition(".")[2].lstrip("~")
    out.write(shown, "literal")


def _title(body: str) -> str:
    """`text <target>` -> text."""
    match = _TITLE_AND_TARGET.fullmatch(body)
    return match[1] if match and match[1] else body
