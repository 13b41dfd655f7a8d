"""How every command of Vertiform ends: its exit code, and what a person reads when it fails."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from vertiform.errors import EXIT_USER, VertiformError


@contextmanager
def exit_on_user_error() -> Iterator[None]:
    """Turn a VertiformError into two lines on stderr and exit code 2; log at INFO meanwhile.

    Anything else is a bug of ours and keeps its traceback.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        yield
    except VertiformError as error:
        sys.stderr.write(f"Error: {error}\n")
        sys.exit(EXIT_USER)
