"""An index of a store's runs, kept beside MLflow: ten best of 100,000 in milliseconds.

MLflow holds the truth; the index can be deleted at any time and is then read from MLflow again.
"""

import logging
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from vertiform.tracking.index_changes import mark_changed
from vertiform.tracking.index_file import opened, place_of
from vertiform.tracking.index_query import Answers, FoundRun, Question
from vertiform.tracking.index_refresh import read_back, refresh
from vertiform.tracking.store import Store

__all__ = ["Answers", "FoundRun", "Question", "ask", "find", "mark_changed"]

MAX_RUNS_READ_BACK = 100  # of an answer; more would cost longer than the answer
TIMES_READ_BACK = 3  # an answer that keeps changing is being written to right now

T = TypeVar("T")

logger = logging.getLogger(__name__)


def ask(
    store: Store,
    question: Callable[[Answers], T],
    *,
    rebuild: bool = False,
    root: Path | None = None,
    refreshed: bool = True,
) -> T:
    """Bring the index of `store` up to date, and return what `question` makes of it.

    refreshed: False for a further question about an answer that was just given.
    An index that is damaged is built anew, and a line says so.
    """
    file = place_of(store, root=root)
    try:
        if refreshed:
            refresh(store, file, rebuild=rebuild)
        with opened(file) as index:
            return question(Answers(index))
    except sqlite3.DatabaseError as error:
        logger.warning("The index %s is damaged (%s): building it anew.", file, error)
    refresh(store, file, rebuild=True)
    with opened(file) as index:
        return question(Answers(index))


def find(
    store: Store, question: Question, *, rebuild: bool = False, root: Path | None = None
) -> list[FoundRun]:
    """Return the runs in question, each read back from MLflow, so that what is shown is true.

    A run that was deleted, or changed after it had ended, is thereby seen even where nobody on
    this machine noted it. An answer of over MAX_RUNS_READ_BACK runs is not read back.
    """

    def answer(answers: Answers) -> list[FoundRun]:
        return answers.find(question)

    found = ask(store, answer, rebuild=rebuild, root=root)
    for _ in range(TIMES_READ_BACK if len(found) <= MAX_RUNS_READ_BACK else 0):
        read_back(store, place_of(store, root=root), [run.id for run in found])
        again = ask(store, answer, root=root, refreshed=False)
        if [run.id for run in again] == [run.id for run in found]:
            return again
        found = again
    return found
