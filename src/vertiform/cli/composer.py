"""Composes one configuration after another that differ in a few values: the trials of a sweep."""

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vertiform.cli.compose import CONF, explained, resolved, unresolved

# Text that Hydra's grammar reads as itself without quotes.
PLAIN_TEXT = re.compile(r"(?!(?:true|false|null|nan|inf)$)[A-Za-z_][\w-]*", re.IGNORECASE)


class Composer:
    """Says what `compose(door, [*overrides, *as_overrides(values)])` says, but sooner.

    Hydra composes once for each set of group choices (80 ms); every other value is put into a copy
    of what it composed, before interpolations are resolved (5 ms).
    """

    def __init__(self, door: str, overrides: Sequence[str]) -> None:
        self.door = door
        self._overrides = tuple(overrides)
        self._composed: dict[frozenset[tuple[str, Any]], tuple[DictConfig, dict[str, str]]] = {}

    def composed(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Compose with `values`, by the keys of overrides.

        Raises ConfigError as `compose` does.
        """
        groups = {key: value for key, value in values.items() if is_group(key)}
        config = copy.deepcopy(self._of_groups(groups)[0])
        overrides = (*self._overrides, *as_overrides(values))
        try:
            for key, value in values.items():
                if key not in groups:
                    OmegaConf.update(config, key, value, merge=True)
        except OmegaConfBaseException as error:
            raise explained(error, door=self.door, overrides=overrides) from error
        return resolved(config, door=self.door, overrides=overrides)

    def choices(self, values: Mapping[str, Any]) -> dict[str, str]:
        """The choice in force of every config group, by the key that overrides it."""
        return self._of_groups({key: v for key, v in values.items() if is_group(key)})[1]

    def _of_groups(self, groups: Mapping[str, Any]) -> tuple[DictConfig, dict[str, str]]:
        known = frozenset(groups.items())
        if known not in self._composed:
            self._composed[known] = unresolved(self.door, [*self._overrides, *as_overrides(groups)])
        return self._composed[known]


def is_group(key: str) -> bool:
    """Whether an override of `key` chooses a file of conf/, as Hydra sees it."""
    group = key.partition("@")[0]
    return bool(group) and (CONF / group).is_dir()


def as_overrides(values: Mapping[str, Any]) -> list[str]:
    """Write `values` as a command line gives them."""
    return [f"{key}={_as_text(value)}" for key, value in values.items()]


def _as_text(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str) or PLAIN_TEXT.fullmatch(value):
        return str(value)
    from hydra.core.override_parser.types import Quote, QuotedString

    return QuotedString(value, Quote.single).with_quotes()
