"""Opens MLflow's store, and turns what goes wrong with it into errors that say what to do."""

import errno
import fcntl
import logging
import os
import re
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from vertiform.errors import StorageError, TrackingError, VertiformError
from vertiform.tracking.collector import not_collecting

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

DATABASE = "mlflow.db"
ARTIFACTS = "mlartifacts"
SECONDS_TO_ANSWER = 5.0  # of a store, before we say that it cannot be reached
RESTART_SERVER = "start the server, or choose tracking=local; `curl <address>/health` shows it."

# Of a request that failed, in the words of the HTTP library: what a person needs of it.
_REASONS = (
    (r"Connection refused", "the connection is refused"),
    (r"timed out", "it does not answer in time"),
    (r"Name or service not known|Temporary failure in name resolution", "its name is not known"),
    (r"reset by peer|Connection aborted|RemoteDisconnected|IncompleteRead|Connection broken",
     "the connection broke off"),
    (r"error code 403", "it does not let you do this (403)"),
    (r"error code 401", "it does not know you (401)"),
    (r"too many (\d+) error responses|error code (\d+)", r"it answers \1\2"),
)  # fmt: skip

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LocalStore:
    """Where a project keeps its runs unless conf/tracking says otherwise. Absolute."""

    tracking_uri: str
    artifact_root: str


@dataclass(frozen=True)
class Store:
    """An MLflow store. `uri` may hold a password: show `name`."""

    uri: str
    artifacts: Path | None  # absolute folder beside a local database; None: a server keeps them
    root: Path  # of the project, below which journals are kept

    @cached_property
    def client(self) -> "MlflowClient":
        """MLflow's client, imported and connected when first asked for."""
        with not_collecting():
            return _client(self.uri)

    @property
    def name(self) -> str:
        """What messages call the store."""
        return without_credentials(self.uri)

    def experiment_id(self, experiment: str) -> str:
        """Return the id of the experiment named so; it is created if it does not exist."""
        with errors_named(self.uri):
            found = self.client.get_experiment_by_name(experiment)
            if found is None:
                return self._created(experiment)
        if found.lifecycle_stage != "active":
            raise TrackingError(
                f"The experiment `{experiment}` in {self.name} is deleted.",
                fix=f"run `mlflow experiments restore --experiment-id {found.experiment_id}`.",
            )
        self._check_place(experiment, found.artifact_location)
        return found.experiment_id

    def _created(self, experiment: str) -> str:
        from mlflow.exceptions import MlflowException

        place = str(self.artifacts / experiment) if self.artifacts else None
        try:
            return self.client.create_experiment(experiment, artifact_location=place)
        except MlflowException as error:
            found = self.client.get_experiment_by_name(experiment)
            if error.error_code != "RESOURCE_ALREADY_EXISTS" or found is None:
                raise
            return found.experiment_id  # another process was first

    def _check_place(self, experiment: str, location: str) -> None:
        # MLflow keeps absolute paths: a copied project would write into the one it was copied from.
        place = Path(location.removeprefix("file://"))
        if self.artifacts and place.is_absolute() and not place.is_relative_to(self.artifacts):
            raise TrackingError(
                f"{self.name} keeps the files of `{experiment}` in {place}: the project was moved "
                "or copied from there.",
                fix=f"move it back, or move {DATABASE} and {ARTIFACTS}/ aside and run "
                "`dvc repro -f`.",
            )


def local_store(root: Path) -> LocalStore:
    """Say where the default store of the project at `root` lies; it need not exist."""
    place = root.resolve()
    return LocalStore(f"sqlite:///{place / DATABASE}", str(place / ARTIFACTS))


def open_store(tracking_uri: str | None, *, root: Path, must_exist: bool = False) -> Store:
    """Open the store at `tracking_uri`; None is the SQLite database at the project's `root`.

    A local database is created if it is absent; must_exist (for verbs that only read) refuses
    instead. Answers within seconds: raises TrackingError for a store that is locked, damaged,
    of another MLflow, or not reached.
    """
    store = store_at(tracking_uri, root=root)
    if store.artifacts is None:
        _check_server(store.uri)
    else:
        database = Path(store.uri.removeprefix("sqlite:///"))
        if must_exist and not database.exists():
            raise TrackingError(
                f"There is no MLflow store yet: {database} does not exist.",
                fix="run `dvc repro` first, or give tracking.tracking_uri=<your store>.",
            )
        _check_database(database)
    _ = store.client
    return store


def store_at(tracking_uri: str | None, *, root: Path) -> Store:
    """Name the store without asking whether it answers: a run's journal does not need it to.

    Raises TrackingError for an address that is none of a store.
    """
    root = root.resolve()
    uri = tracking_uri or local_store(root).tracking_uri
    if uri.startswith(("http://", "https://")):
        return Store(uri, artifacts=None, root=root)
    if uri.startswith("sqlite:///"):
        database = (root / uri.removeprefix("sqlite:///")).resolve()
        return Store(f"sqlite:///{database}", artifacts=database.parent / ARTIFACTS, root=root)
    raise TrackingError(
        f"{without_credentials(uri)} is not an MLflow store that Vertiform can open.",
        fix="give sqlite:///<path to a file>, or the http(s):// address of an MLflow server.",
    )


@contextmanager
def errors_named(uri: str) -> Iterator[None]:
    """Raise what the store at `uri` does to us as a TrackingError or StorageError with its fix.

    An MlflowException that speaks of one run, model or alias passes: the caller knows its fix.
    """
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        named = _named(error, without_credentials(uri))
        if named is None:
            raise
        raise named from error
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise _no_space(without_credentials(uri)) from error


def what_went_wrong(error: Exception) -> str:
    """Say an error in one line, without credentials, for a message that goes on from there."""
    if isinstance(error, VertiformError):
        return without_credentials(f"{error.problem} Fix: {error.fix}")
    text = str(error).strip() or type(error).__name__
    if text.startswith("API request to"):  # a page of the HTTP library's own words
        for pattern, reason in _REASONS:
            if found := re.search(pattern, text):
                return found.expand(reason)
    lines = text.splitlines()
    if len(lines) > 1 and lines[0].startswith("(raised as a result of"):  # SQLAlchemy's preface
        lines = lines[1:]
    return without_credentials(lines[0][:300])


def without_credentials(text: str) -> str:
    """Return `text` with user names and passwords taken out of every address in it."""
    return re.sub(r"(?<=://)[^/\s@]+@", "***@", text)


def _client(uri: str) -> "MlflowClient":
    # Not mlflow's fluent functions: a client carries its address, the fluent ones share a global.
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        with _alone_if_new(uri):
            return MlflowClient(tracking_uri=uri, registry_uri=uri)
    except MlflowException as error:
        name = without_credentials(uri)
        raise _named(error, name) or TrackingError(
            f"MLflow cannot open {name}: {what_went_wrong(error)}",
            fix=f"copy the file aside, then run `mlflow db upgrade {name}`.",
        ) from error


@contextmanager
def _alone_if_new(uri: str) -> Iterator[None]:
    """Let one process at a time create the tables of a local store: MLflow does not see to that."""
    database = Path(uri.removeprefix("sqlite:///"))
    lock = database.with_name(f".{database.name}.lock")
    # One that exists may still be in creation, as the lock beside it tells.
    is_new = not database.exists() or os.access(lock, os.W_OK)
    if not uri.startswith("sqlite:///") or not is_new:
        yield
        return
    with lock.open("w") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        yield


def _check_database(database: Path) -> None:
    """See within seconds that SQLite can write to `database`; MLflow would wait and retry."""
    if not database.exists():
        if not database.parent.is_dir():
            raise TrackingError(
                f"The folder {database.parent} of MLflow's store does not exist.",
                fix="create it, or give another place in tracking.tracking_uri.",
            )
        logger.info("Creating MLflow's store %s (a few seconds, once).", database)
        return
    try:
        with closing(
            sqlite3.connect(f"file:{database}?mode=rw", uri=True, timeout=SECONDS_TO_ANSWER)
        ) as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.rollback()
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise _locked(str(database)) from error
        raise TrackingError(
            f"MLflow's store {database} cannot be written: {error}.",
            fix=f"give yourself the right to write it (`ls -l {database}`), or move it aside.",
        ) from error
    except sqlite3.DatabaseError as error:
        raise TrackingError(
            f"{database} is not a working SQLite database: {error}.",
            fix="put a backup in its place, or move it aside and run `dvc repro -f`.",
        ) from error


def _check_server(uri: str) -> None:
    name = without_credentials(uri)
    # urllib does not take a user name and password from an address; /health needs none.
    address = re.sub(r"(?<=://)[^/\s@]+@", "", uri).rstrip("/")
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=SECONDS_TO_ANSWER):
            pass
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):  # by a proxy in front: MLflow's own /health asks for nothing
            raise _not_let_in(name) from error
        raise TrackingError(
            f"The server at {name} answered {error.code}, which MLflow would not.",
            fix="check the address in MLFLOW_TRACKING_URI or tracking.tracking_uri.",
        ) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise TrackingError(
            f"MLflow's server at {name} cannot be reached: {reason}.", fix=RESTART_SERVER
        ) from error


def _named(error: "MlflowException", name: str) -> VertiformError | None:
    text = str(error)
    if "database is locked" in text:
        return _locked(name)
    if "disk is full" in text:
        return _no_space(name)
    if "readonly database" in text or "unable to open database" in text:
        return TrackingError(
            f"MLflow's store {name} cannot be written.",
            fix="give yourself the right to write the file and its folder.",
        )
    if error.error_code in ("UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED"):
        return _not_let_in(name)
    if error.error_code == "PERMISSION_DENIED":
        return _not_allowed(name)
    if "API request to" in text and ("failed with exception" in text or "error code 5" in text):
        return TrackingError(
            f"MLflow's server at {name} stopped answering: {what_went_wrong(error)}",
            fix=RESTART_SERVER,
        )
    return None


def _locked(name: str) -> TrackingError:
    return TrackingError(
        f"MLflow's store {name} is locked by another program.",
        fix=f"wait for the other run or close it (`fuser {name.removeprefix('sqlite:///')}` "
        "names it), then run this again.",
    )


def _no_space(name: str) -> StorageError:
    return StorageError(
        f"No space is left on the disk of MLflow's store {name} or of its artifacts.",
        fix="free some space, then run the same command again.",
    )


def _not_let_in(name: str) -> TrackingError:
    user = os.environ.get("MLFLOW_TRACKING_USERNAME")
    why = f"not as {user} with this password" if user else "for you did not say who you are"
    return TrackingError(
        f"MLflow's server at {name} does not let you in: {why}.",
        fix="set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD to your own.",
    )


def _not_allowed(name: str) -> TrackingError:
    user = os.environ.get("MLFLOW_TRACKING_USERNAME", "you")
    return TrackingError(
        f"MLflow's server at {name} does not let {user} do this; nothing was changed by it.",
        fix="ask an admin of the server for the right (docs/team-server.md: roles), or let a "
        "colleague who has it do this.",
    )
