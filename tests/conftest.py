"""The faults run only where they are asked for."""

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "fault" in config.option.markexpr:
        return
    faults = [item for item in items if item.get_closest_marker("fault")]
    config.hook.pytest_deselected(items=faults)
    items[:] = [item for item in items if item not in faults]
