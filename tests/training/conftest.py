"""The hundred kills run only where they are asked for."""

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "kill" in config.option.markexpr:
        return
    hundred = [item for item in items if item.get_closest_marker("kill")]
    config.hook.pytest_deselected(items=hundred)
    items[:] = [item for item in items if item not in hundred]
