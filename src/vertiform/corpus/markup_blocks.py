"""The paragraphs of a docstring: which lines are prose, and which name an entry describes."""

import re
from dataclasses import dataclass

from vertiform.corpus.markup_words import (
    CODE_TITLES,
    KIND_OF_FIELD,
    PROSE_DIRECTIVES,
    SECTIONS,
    TITLED_DIRECTIVES,
)

_DIRECTIVE = re.compile(r"\.\.\s+(?:\|[^|]*\|\s+)?([\w:+-]+?)\s*::\s*(.*)")
_FIELD = re.compile(r":([A-Za-z][\w-]*)((?:\s+[^:`]*)?):(?:\s+(.*)|$)")
_OPTION = re.compile(r"\s*:[\w-]+:")
_UNDERLINE = re.compile(r"([-=~^*#+\"'`])\1{2,}")
_ONLY_PUNCTUATION = re.compile(r"[-=~^*#+_|\s.\"'`]{3,}")
_TABLE_BORDER = re.compile(r"=+(?:\s+=+)+|\+[-=+]+\+")
_BULLET = re.compile(r"(?:[-*+]|\(?\d{1,2}[.)]|#\.)\s+(?=\S)")
_VERSION = re.compile(r"v?\d[\w.]*\s*[:,.-]?\s*")
_NUMPY_ENTRY = re.compile(
    r"(\*{0,2}`{0,2}[A-Za-z_][\w.*`]*(?:\s*,\s*[\w.*`]+)*)\s*(?::(?:\s.*)?|\(.*)?"
)
_GOOGLE_ENTRY = re.compile(
    r"[-*]?\s*(\*{0,2}`{0,2}\*{0,2}[A-Za-z_][\w.]*`{0,2}(?:\s*,\s*\*{0,2}[A-Za-z_]\w*)*)\s*"
    r"(?:\(.*?\)\s*)?(?::(?!:)|\s--?\s)\s*(.*)"
)
_TYPE_AND_COLON = re.compile(r"(?:`[^`]+`|[\w.~|]+(?:\[[^:]*?\])?)\s*:\s+(?=\S)")
_TYPE_ALONE = re.compile(r"[\w.\[\]`~]+|[\w.*`, ]+ : .*")


@dataclass(frozen=True, slots=True)
class Block:
    """One paragraph on one line. `names` are the entries it describes, of one kind."""

    text: str
    names: tuple[str, ...] = ()
    kind: str | None = None


def read_blocks(text: str) -> list[Block]:
    """Return the paragraphs of a docstring, inline markup still in them."""
    return _Reader(text).read()


class _Reader:
    """One pass over the lines. A section is what a numpydoc title or a Google `Args:` opened."""

    def __init__(self, text: str) -> None:
        self.lines = text.expandtabs().split("\n")
        self.at = 0
        self.blocks: list[Block] = []
        self.held: list[str] = []  # lines of the paragraph being read
        self.names: tuple[str, ...] = ()
        self.kind: str | None = None
        self.section: str | None = None
        self.section_indent = 0
        self.is_google = False
        self.entry_indent: int | None = None

    def read(self) -> list[Block]:
        while self.at < len(self.lines):
            line = self.lines[self.at]
            self.at += 1
            stripped = line.strip()
            if stripped:
                self._read_line(stripped, len(line) - len(line.lstrip()))
            else:
                self._end_paragraph()
        self._end_paragraph()
        return self.blocks

    def _read_line(self, stripped: str, indent: int) -> None:
        if self.is_google and indent <= self.section_indent:
            self._end_paragraph()
            self.section, self.is_google, self.names = None, False, ()
        first = stripped[0]
        if first in ".:>`<+=-~^*#|\"'(0123456789" and self._read_marked(stripped, indent, first):
            return
        if self._is_title(stripped, indent):
            return
        if self.section == "dropped":
            return
        if stripped.endswith(":") and self._is_google_title(stripped, indent):
            return
        if self.section is not None and self._is_entry(stripped, indent):
            return
        self._hold(stripped)
        if stripped.endswith("::"):
            self._end_paragraph()
            self._skip_deeper(indent)

    def _read_marked(self, stripped: str, indent: int, first: str) -> bool:
        """Lines that their first character tells: True when the line was dealt with."""
        if first == ">" and stripped.startswith(">>>"):
            self._end_paragraph()
            self._skip_until_blank()
        elif first == "." and stripped.startswith(".."):
            return self._read_directive(stripped, indent)
        elif first == ":":
            return self._read_field(stripped, indent)
        elif stripped.startswith(("```", "~~~")) and self._is_fence(stripped):
            self._end_paragraph()
            self._skip_fence(stripped[:3])
        elif _TABLE_BORDER.fullmatch(stripped):
            self._end_paragraph()
            self._skip_table()
        elif (
            _ONLY_PUNCTUATION.fullmatch(stripped)
            or (first == "|" and stripped.endswith("|"))
            or (first == "<" and stripped.endswith(">"))  # <Tip>, </div>
        ):
            self._end_paragraph()
        elif self.section != "dropped" and (bullet := _BULLET.match(stripped)):
            if self.section and self.is_google and self._is_entry(stripped, indent):
                return True
            self._end_paragraph()
            self._hold(stripped[bullet.end() :])
        else:
            return False
        return True

    def _is_fence(self, stripped: str) -> bool:
        return stripped[:3] == "```" or any(
            line.strip() == "~~~" for line in self.lines[self.at : self.at + 80]
        )

    def _is_title(self, stripped: str, indent: int) -> bool:
        if self.at >= len(self.lines):
            return False
        below = self.lines[self.at].strip()
        if len(below) < 3 or not _UNDERLINE.fullmatch(below) or below[:3] == "```":
            return False
        self._end_paragraph()
        self.at += 1
        title = stripped.rstrip(":").lower()
        self.section, self.names = SECTIONS.get(title), ()
        self.section_indent, self.is_google, self.entry_indent = indent, False, indent
        if self.section is None:
            self.blocks.append(Block(stripped))
        return True

    def _is_google_title(self, stripped: str, indent: int) -> bool:
        title = stripped[:-1].strip("*#: ").lower()
        section = SECTIONS.get(title)
        if section is None or not self._is_deeper_below(indent):
            return False
        if section == "prose" and self.held:  # "as in this example:" at the end of a sentence
            return False
        self._end_paragraph()
        if title in CODE_TITLES:  # `Example:` holds code, mostly without any mark of it
            self._skip_deeper(indent)
            return True
        self.section, self.section_indent, self.names = section, indent, ()
        self.is_google, self.entry_indent = True, None
        return True

    def _is_deeper_below(self, indent: int) -> bool:
        for line in self.lines[self.at :]:
            if line.strip():
                return len(line) - len(line.lstrip()) > indent
        return False

    def _is_entry(self, stripped: str, indent: int) -> bool:
        """The head of an entry: its names are held, and for Google style its first words too."""
        if self.section == "prose":
            return False
        if self.entry_indent is None:
            self.entry_indent = indent
        if indent != self.entry_indent:
            return False
        if self.section == "returns":
            return self._is_return_entry(stripped, indent)
        pattern = _GOOGLE_ENTRY if self.is_google else _NUMPY_ENTRY
        match = pattern.fullmatch(stripped)
        if match is None:
            self._end_paragraph()
            return False
        self._end_paragraph()
        self._start_entry(match[1], self.section)
        if self.is_google and match[2]:
            self._hold(match[2])
        return True

    def _is_return_entry(self, stripped: str, indent: int) -> bool:
        """Drop the type: `out : ndarray` with its description below it, or `ndarray: ...`."""
        self._end_paragraph()
        if self.is_google:
            self.section = "prose"  # only the first line has a type
            self._hold(_TYPE_AND_COLON.sub("", stripped, count=1))
            return True
        return _TYPE_ALONE.fullmatch(stripped) is not None or self._is_deeper_below(indent)

    def _start_entry(self, names: str, kind: str | None) -> None:
        found = (name.strip("*` ") for name in names.split(","))
        self.names = tuple(name for name in found if name)
        self.kind = kind

    def _read_field(self, stripped: str, indent: int) -> bool:
        match = _FIELD.fullmatch(stripped)
        if match is None:
            return False
        self._end_paragraph()
        self.names = ()
        kind = KIND_OF_FIELD.get(match[1])
        if kind is None:  # :type x:, :rtype:, :copyright: and options
            self._skip_deeper(indent, stops_at_blank=True)
            return True
        if kind != "returns" and match[2].strip():
            self._start_entry(match[2].split()[-1], kind)
        if match[3]:
            self._hold(match[3])
        return True

    def _read_directive(self, stripped: str, indent: int) -> bool:
        if stripped[2:3] not in ("", " "):
            return False
        self._end_paragraph()
        match = _DIRECTIVE.match(stripped)
        name = match[1].lower() if match else ""
        if match is None or name not in PROSE_DIRECTIVES:
            self._skip_deeper(indent)
            return True
        while self.at < len(self.lines) and _OPTION.match(self.lines[self.at]):
            self.at += 1
        words = "" if name in TITLED_DIRECTIVES else match[2]
        if name.startswith(("version", "deprecated")):
            words = _VERSION.sub("", words, count=1)
        if words:
            self._hold(words)
        return True

    def _hold(self, stripped: str) -> None:
        if self.section != "dropped":
            self.held.append(stripped)

    def _end_paragraph(self) -> None:
        if self.held:
            text = " ".join(" ".join(self.held).split())
            if text.endswith("::"):
                text = text[:-1].removesuffix(" :")
            if text != ":":
                self.blocks.append(Block(text, self.names, self.kind if self.names else None))
            self.held = []
            self.names, self.kind = (), None

    def _skip_deeper(self, indent: int, *, stops_at_blank: bool = False) -> None:
        while self.at < len(self.lines):
            line = self.lines[self.at]
            if line.strip():
                if len(line) - len(line.lstrip()) <= indent:
                    return
            elif stops_at_blank:
                return
            self.at += 1

    def _skip_until_blank(self) -> None:
        while self.at < len(self.lines) and self.lines[self.at].strip():
            self.at += 1

    def _skip_fence(self, mark: str) -> None:
        while self.at < len(self.lines):
            self.at += 1
            if self.lines[self.at - 1].strip().startswith(mark):
                return

    def _skip_table(self) -> None:
        """To the border that an empty line follows; a lone border skips only itself."""
        for ahead in range(self.at, len(self.lines)):
            is_last = ahead + 1 == len(self.lines) or not self.lines[ahead + 1].strip()
            if is_last and _TABLE_BORDER.fullmatch(self.lines[ahead].strip()):
                self.at = ahead + 1
                return
