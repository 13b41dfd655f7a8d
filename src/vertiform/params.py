"""Reads params.yaml, strictly: an unknown key is an error that names the key meant."""

import dataclasses
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from vertiform.errors import ConfigError, did_you_mean

P = TypeVar("P")


def read_stage_params(path: Path, domain: str, stage: str, params_type: type[P]) -> P:
    """Read domains.<domain>.<stage> of params.yaml into the frozen dataclass `params_type`.

    Raises ConfigError if the domain or the section is missing, or a key does not fit.
    """
    domains = read_params(path).get("domains") or {}
    if domain not in domains:
        raise ConfigError(
            f"params.yaml has no domain `{domain}`.",
            fix=did_you_mean(domain, domains) if domains else "add one under `domains:`.",
        )
    section = f"domains.{domain}.{stage}"
    if stage not in domains[domain]:
        raise ConfigError(
            f"params.yaml has no section {section}.",
            fix=f"add it; domains.software.{stage} in params.yaml shows every key.",
        )
    return build(params_type, domains[domain][stage], where=section)


def read_params(path: Path) -> dict[str, Any]:
    """Read params.yaml as OmegaConf reads it. Raises ConfigError with the line if it is no YAML."""
    try:
        values = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except FileNotFoundError:
        raise ConfigError(
            f"{path} does not exist.", fix="run this from the root of the project."
        ) from None
    except (OmegaConfBaseException, YAMLError) as error:
        raise ConfigError(
            f"{path} cannot be read: {' '.join(str(error).split())}",
            fix="correct the YAML at the place named.",
        ) from error
    return values  # type: ignore[return-value]


def build(params_type: type[P], values: Any, *, where: str) -> P:
    """Build a frozen dataclass from plain values, nested dataclasses included.

    Raises ConfigError that names the place in params.yaml for an unknown key, a missing key or a
    value of the wrong type.
    """
    if not isinstance(values, dict):
        raise ConfigError(
            f"{where} in params.yaml must be a mapping, not {values!r}.",
            fix="write one `key: value` per line below it.",
        )
    hints = get_type_hints(params_type)
    fields = {f.name: f for f in dataclasses.fields(params_type)}  # type: ignore[arg-type]
    for key in values:
        if key not in fields:
            raise ConfigError(
                f"{where}.{key} in params.yaml is not a known key.",
                fix=did_you_mean(str(key), fields),
            )
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING and (
            field.default_factory is dataclasses.MISSING
        )
        if required and name not in values:
            raise ConfigError(
                f"{where}.{name} is missing in params.yaml.", fix=f"add `{name}:` to {where}."
            )
    built = {key: _fit(hints[key], value, f"{where}.{key}") for key, value in values.items()}
    return params_type(**built)


def _fit(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return build(hint, value, where=where)  # type: ignore[arg-type]
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is tuple and isinstance(value, list):
        return tuple(_fit(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is dict and isinstance(value, dict):
        return {key: _fit(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    if type(None) in arguments:  # Optional
        if value is None:
            return None
        return _fit(next(a for a in arguments if a is not type(None)), value, where)
    if hint is float and type(value) is int:
        return float(value)
    if hint is Any or (isinstance(hint, type) and type(value) is hint):
        return value
    raise ConfigError(
        f"{where} in params.yaml is {value!r}, which is not {_in_words(hint)}.",
        fix=f"write {_in_words(hint)} there.",
    )


def _in_words(hint: Any) -> str:
    words = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    if get_origin(hint) is tuple:
        return "a list"
    if get_origin(hint) is dict:
        return "a mapping"
    return words.get(hint, getattr(hint, "__name__", str(hint)))
