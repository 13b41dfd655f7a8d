"""A real MLflow store in SQLite for each test; its schema is created once a session."""

import shutil
from pathlib import Path

import pytest

from tests.tracking.examples import Shelf, logged_model
from vertiform.tracking.model_files import LoggedModel
from vertiform.tracking.store import DATABASE, Store, open_store


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow takes two seconds to create its tables; a copy of the file opens in 0.05 s."""
    root = tmp_path_factory.mktemp("empty-store")
    open_store(None, root=root)
    return root / DATABASE


@pytest.fixture
def store(empty_database: Path, tmp_path: Path) -> Store:
    """A store of the test's own, below tmp_path."""
    root = tmp_path / "project"
    root.mkdir()
    shutil.copy(empty_database, root / DATABASE)
    return open_store(None, root=root)


@pytest.fixture(scope="session")
def shared_model(
    empty_database: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Store, LoggedModel]:
    """One logged model in a store that tests share; they must not damage it."""
    root = tmp_path_factory.mktemp("shared-store")
    shutil.copy(empty_database, root / DATABASE)
    store = open_store(None, root=root)
    return store, logged_model(store, root)


@pytest.fixture
def shelf(shared_model: tuple[Store, LoggedModel], request: pytest.FixtureRequest) -> Shelf:
    """A registered model of the test's own name, whose versions all hold the shared model."""
    store, model = shared_model
    return Shelf(store, model, name=request.node.name.replace("/", "-")[:100])
