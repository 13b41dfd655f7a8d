"""The lines of a run's journal: how they are written, checked and read back.

A line is `<crc32 of the rest, 8 hex digits> <rest>\n`. The rest is one of

    {"kind": "tags", "tags": {...}}           a record, as JSON; shipping.py says what kinds
    p <group> <step> <milliseconds> <values>  points: values as little-endian float64 in hex

`{"kind": "names", "group": 0, "names": [...]}` gives the names of a group before its first points.
Packed values take 5 microseconds for twenty points, JSON 15, and every bit of a value comes back.
"""

import json
from binascii import hexlify
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from struct import Struct
from typing import Any
from zlib import crc32

READ_BYTES = 4 << 20  # at a time
_CRC_CHARACTERS = 8
_BITS_TRIED = 8 * 4096  # of a damaged line; a longer one is not put right


@dataclass(frozen=True, slots=True)
class Points:
    """The values of one step. `time_ms` was fixed when they came in: sent twice, stored once."""

    step: int
    time_ms: int
    names: tuple[str, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Damaged:
    """A line whose checksum is wrong and that one flipped bit does not explain."""

    text: bytes


@dataclass(frozen=True, slots=True)
class Line:
    """A line that was read. `end` is the byte after it: where to go on."""

    content: Points | Damaged | Mapping[str, Any]
    start: int
    end: int


@dataclass
class Groups:
    """The names that groups of points have in one journal."""

    names: dict[int, tuple[str, ...]] = field(default_factory=dict)


def record_line(record: Mapping[str, Any]) -> bytes:
    """Write a record as a line. A value that is not JSON raises TypeError: our mistake."""
    return with_checksum(json.dumps(record, ensure_ascii=False, allow_nan=False).encode())


def points_line(group: int, step: int, time_ms: int, values: bytes) -> bytes:
    """Write points as a line; `values` are their float64 values, packed."""
    # As with_checksum does. After a step the caches are cold, and each call of ours costs a few us.
    rest = b"p %d %d %d %b" % (group, step, time_ms, hexlify(values))
    return b"%08x %b\n" % (crc32(rest), rest)


def with_checksum(rest: bytes) -> bytes:
    """Put the checksum before a line and end it."""
    return b"%08x %b\n" % (crc32(rest), rest)


def read_lines(path: Path, *, start: int, groups: Groups) -> Iterator[Line]:
    """Read whole lines from the byte `start` on; what a writer has not finished is left.

    groups: filled by what is read; whoever starts in the middle has read the beginning before.
    """
    with path.open("rb") as file:
        file.seek(start)
        rest, at = b"", start
        while read := file.read(READ_BYTES):
            *lines, rest = (rest + read).split(b"\n")
            for text in lines:
                end = at + len(text) + 1
                yield Line(_content(text, groups), at, end)
                at = end


def first_record(path: Path) -> Mapping[str, Any]:
    """Return the record that a journal begins with; empty if it is not there whole and right."""
    try:
        with path.open("rb") as file:
            text = file.readline()
    except FileNotFoundError:
        return {}
    content = _content(text[:-1], Groups()) if text.endswith(b"\n") else {}
    return content if isinstance(content, Mapping) else {}


def last_record(path: Path) -> Mapping[str, Any]:
    """Return the record that a journal ends with; empty if it ends with points or damaged."""
    if not path.is_file():
        return {}
    end = whole_bytes(path)
    with path.open("rb") as file:
        file.seek(max(0, end - READ_BYTES))
        text = file.read(end - file.tell())[:-1].rpartition(b"\n")[2]
    content = _content(text, Groups())
    return content if isinstance(content, Mapping) else {}


def whole_bytes(path: Path) -> int:
    """Say where the last whole line ends; what is behind it was being written at a crash."""
    size = path.stat().st_size
    with path.open("rb") as file:
        at = size
        while at > 0:
            begin = max(0, at - READ_BYTES)
            file.seek(begin)
            found = file.read(at - begin).rfind(b"\n")
            if found >= 0:
                return begin + found + 1
            at = begin
    return 0


def _content(text: bytes, groups: Groups) -> Points | Damaged | Mapping[str, Any]:
    rest = checked(text)
    if rest is None:
        return Damaged(text)
    if rest.startswith(b"p "):
        _, group, step, time_ms, values = rest.split(b" ")
        names = groups.names.get(int(group))
        if names is None:  # the line that named them is damaged
            return Damaged(text)
        packed = bytes.fromhex(values.decode())
        return Points(int(step), int(time_ms), names, _float64s(len(names)).unpack(packed))
    record = json.loads(rest)
    if record["kind"] == "names":
        groups.names[record["group"]] = tuple(record["names"])
    return record


def checked(text: bytes) -> bytes | None:
    """Return what follows a right checksum; one flipped bit is put right. None: damaged."""
    if _is_right(text):
        return text[_CRC_CHARACTERS + 1 :]
    if 8 * len(text) > _BITS_TRIED:
        return None
    right = [flipped for flipped in _flips(text) if _is_right(flipped)]
    return right[0][_CRC_CHARACTERS + 1 :] if len(right) == 1 else None


def _is_right(text: bytes) -> bool:
    try:
        stated = int(text[:_CRC_CHARACTERS], 16)
    except ValueError:
        return False
    rest = text[_CRC_CHARACTERS + 1 :]
    return text[_CRC_CHARACTERS : _CRC_CHARACTERS + 1] == b" " and stated == crc32(rest)


def _flips(text: bytes) -> Iterator[bytes]:
    """Every text that differs in one bit, and has no line end in it."""
    for place in range(len(text)):
        for bit in range(8):
            changed = text[place] ^ (1 << bit)
            yield text[:place] + bytes((changed,)) + text[place + 1 :]


def pack(values: Collection[float]) -> bytes:
    """Pack values as float64, little-endian. What can be made a float is."""
    return _float64s(len(values)).pack(*values)


@cache
def _float64s(num: int) -> Struct:
    return Struct(f"<{num}d")
