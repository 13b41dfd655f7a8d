"""Composes conf/ into one plain configuration, and builds the objects that it names."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from vertiform.errors import ConfigError, VertiformError, did_you_mean

CONF = Path("conf")
PASSWORD_IN_ADDRESS = re.compile(r"(\w*)[\w+]*://[^/\s@]*:[^/\s@]+@")
ALLOWED_TARGETS = ("vertiform.",)  # a config may name nothing outside our own modules


def compose(door: str, overrides: Sequence[str]) -> dict[str, Any]:
    """Compose conf/<door>.yaml with Hydra `overrides`; every interpolation is resolved.

    Raises ConfigError for an unknown key or choice, a malformed override, or a value not given.
    """
    config, _ = unresolved(door, overrides)
    return resolved(config, door=door, overrides=overrides)


def unresolved(door: str, overrides: Sequence[str]) -> tuple[DictConfig, dict[str, str]]:
    """What `compose` reads, with its interpolations, and the choice in force of every group."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    folder = _file_of(door).parent
    try:
        with initialize_config_dir(version_base="1.3", config_dir=str(folder)):
            config = hydra_compose(door, overrides=list(overrides), return_hydra_config=True)
    except (HydraException, OmegaConfBaseException, YAMLError, ValueError) as error:
        raise explained(error, door=door, overrides=overrides) from error
    choices = dict(config.hydra.runtime.choices)
    with open_dict(config):
        del config["hydra"]
    return config, {key: name for key, name in choices.items() if not key.startswith("hydra/")}


def resolved(config: DictConfig, *, door: str, overrides: Sequence[str]) -> dict[str, Any]:
    """`config` as plain values; raises ConfigError for what was not given."""
    from omegaconf.errors import OmegaConfBaseException

    try:
        values = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise explained(error, door=door, overrides=overrides) from error
    return _checked(values)


def read_plain(door: str, values: Mapping[str, Any], **choices: str) -> dict[str, Any]:
    """Read conf/<door>.yaml and one file of each group in `choices`, and nothing else of it.

    For verbs that take no overrides: what `compose` says of these keys, without Hydra's 0.2 s.
    """
    from omegaconf.errors import OmegaConfBaseException

    main = _file_of(door)
    files = {group: CONF / group / f"{choice}.yaml" for group, choice in choices.items()}
    for group, file in files.items():
        if not file.is_file():
            raise no_choice(group, file.stem)
    try:
        config: Any = OmegaConf.merge(OmegaConf.load(main), values)
        del config["defaults"]
        for group, file in files.items():
            config[group] = OmegaConf.load(file)
        plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise explained(error, door=door, overrides=()) from error
    return _checked(plain)


def _file_of(door: str) -> Path:
    file = CONF.resolve() / f"{door}.yaml"
    if not file.exists():
        raise ConfigError(
            f"conf/{door}.yaml does not exist here.", fix="run this from the root of the project."
        )
    return file


def _checked(values: Any) -> dict[str, Any]:
    assert isinstance(values, dict)
    if address := PASSWORD_IN_ADDRESS.search(str(values)):
        instead = "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        if address.group(1).startswith("postgres"):
            instead = "PGPASSWORD, or write it into ~/.pgpass"
        raise ConfigError(
            "An address in the configuration holds a password, which would be written into files.",
            fix=f"take it out (of MLFLOW_TRACKING_URI, or of storage=), and set {instead}.",
        )
    return {str(key): value for key, value in values.items()}


def read_composed(path: Path) -> dict[str, Any]:
    """Read a configuration that the stage `compose` flattened."""
    if not path.exists():
        raise ConfigError(
            f"{path} does not exist.", fix="run `dvc repro compose`, which writes it."
        )
    values = OmegaConf.to_container(OmegaConf.load(path))
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def write_yaml(values: dict[str, Any]) -> str:
    """Render a composed configuration as YAML, in the order it was composed."""
    return OmegaConf.to_yaml(OmegaConf.create(values))


def instantiate(section: Any, *, allowed: tuple[str, ...] = ALLOWED_TARGETS, **given: Any) -> Any:
    """Build what `_target_` keys in `section` name, with the keywords in `given` besides.

    Raises ConfigError for what lies outside the modules that are allowed: our own.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate as hydra_instantiate

    for target in _targets(section):
        if not target.startswith(allowed):
            raise ConfigError(
                f"The configuration asks to build `{target}`, which is not part of Vertiform.",
                fix=f"name a class or function below `{'` or `'.join(allowed)}` as _target_.",
            )
    try:
        return hydra_instantiate(OmegaConf.create(section), _convert_="all", **given)
    except InstantiationException as error:
        if isinstance(error.__cause__, VertiformError):
            raise error.__cause__ from None  # what our own class found wrong with its values
        raise ConfigError(
            f"The configuration does not fit: {' '.join(str(error).split())}",
            fix="give every key that the class named asks for, and no other.",
        ) from error


def _targets(section: Any) -> Iterator[str]:
    if isinstance(section, dict):
        for key, value in section.items():
            if key == "_target_":
                yield str(value)
            else:
                yield from _targets(value)
    elif isinstance(section, list):
        for item in section:
            yield from _targets(item)


def explained(error: Exception, *, door: str, overrides: Sequence[str]) -> ConfigError:
    """Turn Hydra's words into ours: what is wrong, and the nearest name that exists."""
    text = " ".join(str(error).split())
    if choice := re.search(r"Could not find '([\w./-]+)/([\w.-]+)'", text):
        group, name = choice.groups()
        return no_choice(group, name)
    if twice := re.search(r"found duplicate key (\S+) in \"([^\"]+)\", line (\d+)", text):
        key, file, line = twice.groups()
        return ConfigError(
            f"`{key}` stands twice in {Path(file).relative_to(CONF.resolve().parent)}.",
            fix=f"leave out one; the second is in line {line}.",
        )
    if unset := re.search(r"Environment variable '(\w+)' not found", text):
        name = unset.group(1)
        return ConfigError(
            f"The environment variable {name}, which the configuration reads, is not set.",
            fix=f"run `export {name}=...` first, or choose tracking=local.",
        )
    if re.search(r"Missing mandatory value", text):
        key = getattr(error, "full_key", None) or text.rpartition(": ")[2]
        return ConfigError(f"`{key}` was not given.", fix=f"add `{key}=...` to the command.")
    if re.search(r"is not in struct|Could not override|Could not append", text):
        keys = list(_all_keys(door))
        for override in overrides:
            key = override.lstrip("+~").split("=", 1)[0].split("@", 1)[0].replace("/", ".")
            if key not in keys:
                return ConfigError(
                    f"`{key}` is not a key of conf/{door}.yaml.", fix=did_you_mean(key, keys)
                )
    return ConfigError(f"conf/{door}.yaml cannot be composed: {text}", fix="correct that value.")


def no_choice(group: str, name: str) -> ConfigError:
    known = [file.stem for file in (CONF / group).glob("*.yaml")]
    return ConfigError(
        f"conf/{group} has no choice `{name}`.",
        fix=did_you_mean(name, known) if known else f"create conf/{group}/{name}.yaml.",
    )


def _all_keys(door: str) -> Iterator[str]:
    """Every key that a plain composition of `door` has, dotted, and every config group."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir

    with initialize_config_dir(version_base="1.3", config_dir=str(CONF.resolve())):
        composed = hydra_compose(config_name=door)
    yield from (str(folder.name) for folder in CONF.iterdir() if folder.is_dir())
    yield from dotted(OmegaConf.to_container(composed), prefix="")


def dotted(values: Any, *, prefix: str) -> Iterator[str]:
    """Every key of `values`, a mapping, and those below it after dots."""
    for key, value in values.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from dotted(value, prefix=f"{prefix}{key}.")
