"""Where a stage's files lie, read from dvc.yaml: the only place that says so."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from vertiform.errors import ConfigError, CorpusError, did_you_mean
from vertiform.params import read_params

DVC_YAML = Path("dvc.yaml")
EVALUATION = "evaluation.json"  # in the folder that evaluate writes


def option(stage: str, name: str, *, domain: str, task: str | None = None) -> Path:
    """Return the path that dvc.yaml gives to --<name> of `stage` for this domain (and task).

    option("pretrain", "tokens", domain="software") is data/software/tokens.
    """
    _check_domain(domain)
    words = _command(stage).split()
    place = words[words.index(f"--{name}") + 1]
    place = place.replace("${release.domain}", domain)
    return Path(place.replace("${key}", task if task is not None else domain))


def existing(path: Path, *, made_by: str) -> Path:
    """Return `path`. Raises CorpusError that names the stage if it is not there."""
    if not path.exists():
        raise CorpusError(
            f"{path} does not exist.",
            fix=f"run `dvc repro {made_by}`, or `dvc pull` if a colleague already has.",
        )
    return path


def check_deps(stage: str, read: Iterable[Path], *, domain: str) -> None:
    """Raise ConfigError unless DVC knows that `stage` reads each of these files and folders.

    A configuration may name what dvc.yaml does not, and an edit of that would train nothing.
    """
    entry = _stages()[stage]
    deps = [
        Path(dep.replace("${release.domain}", domain)) for dep in entry.get("do", entry)["deps"]
    ]
    for path in read:
        if not any(path.is_relative_to(dep) for dep in deps):
            raise ConfigError(
                f"{path} is read by the stage {stage}, but is not among its deps in dvc.yaml, so "
                "`dvc repro` would not see it change.",
                fix=f"add `- {path}` to the deps of {stage} in dvc.yaml.",
            )


def _check_domain(domain: str) -> None:
    domains = read_params(Path("params.yaml"))["domains"]
    if domain not in domains:
        raise ConfigError(
            f"params.yaml has no domain `{domain}`.", fix=did_you_mean(domain, domains)
        )


def _command(stage: str) -> str:
    entry = _stages()[stage]
    return entry.get("do", entry)["cmd"]


@cache
def _stages() -> dict[str, Any]:
    if not DVC_YAML.exists():
        raise ConfigError("dvc.yaml does not exist here.", fix="run this from the project's root.")
    # Unresolved: ${...} in dvc.yaml are DVC's, not OmegaConf's.
    values: Any = OmegaConf.to_container(OmegaConf.load(DVC_YAML), resolve=False)
    return values["stages"]
