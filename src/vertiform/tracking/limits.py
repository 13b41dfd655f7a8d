"""What MLflow accepts: how much a call, how long a value, which characters a name."""

import posixpath
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TypeVar

METRICS_PER_BATCH = 1000
PARAMS_PER_BATCH = 100
PARAM_CHARACTERS = 6000
TAG_CHARACTERS = 8000
NAME_CHARACTERS = 250
DIGEST_CHARACTERS = 36  # of a dataset; an MD5 fits, a SHA-256 does not
REGISTRY_TEXT_CHARACTERS = 5000  # descriptions, and tags of a registered model

T = TypeVar("T")


def in_batches(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Yield consecutive pieces of at most `size` items."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


@lru_cache(maxsize=4096)  # a training loop asks for the same few names at every step
def to_valid_name(name: str) -> str:
    """Return a metric's, param's or tag's name as MLflow accepts it; most come back unchanged.

    A class label may hold any character. One that MLflow refuses becomes its code point, so that
    "f1/C+" and "f1/C#" stay two names: "f1/C_2b_" and "f1/C_23_".
    """
    valid = re.sub(r"[^/\w.\- :]", lambda found: f"_{ord(found[0]):x}_", name)
    if posixpath.normpath(valid) != valid or valid.startswith(("/", "..")) or valid == ".":
        # MLflow reads a name as a path and refuses "a//b", "/a" and "a/../b".
        parts = (part or "_" for part in valid.split("/"))
        valid = "/".join(p.replace(".", "_2e_") if set(p) == {"."} else p for p in parts)
    return valid[:NAME_CHARACTERS]


def shortened(text: str, characters: int, *, whole_in: str) -> str:
    """Return `text` if it fits, else its beginning and where the whole of it lies."""
    if len(text) <= characters:
        return text
    ending = f"... (whole in {whole_in})"
    return text[: characters - len(ending)] + ending
