"""Flatten what params.yaml releases into release/<run>.yaml, one file per run."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vertiform.cli.compose import compose, write_yaml
from vertiform.doors import exit_on_user_error
from vertiform.errors import ConfigError, did_you_mean
from vertiform.files import folder_written_whole
from vertiform.params import read_params


def main() -> None:
    """Compose every run that `release:` in params.yaml names, and write them all or none."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.compose", description=__doc__)
    parser.add_argument("--out", required=True, type=Path, help="folder for <run>.yaml files")
    options = parser.parse_args()
    with exit_on_user_error():
        runs = dict(composed_runs(read_params(Path("params.yaml"))))
        with folder_written_whole(options.out) as folder:
            for name, config in runs.items():
                (folder / f"{name}.yaml").write_text(write_yaml(config), encoding="utf-8")
        print(f"compose: {len(runs)} runs -> {options.out}: {', '.join(runs)}")


def composed_runs(params: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (run, configuration) for everything under `release:`."""
    release = params.get("release") or {}
    domain = release.get("domain")
    if domain not in params["domains"]:
        raise ConfigError(
            f"params.yaml releases the domain `{domain}`, which is not under `domains:`.",
            fix=did_you_mean(str(domain), params["domains"]),
        )
    yield "pretrain", compose("pretrain", [f"domain={domain}", *release["pretrain"]])
    for task, overrides in release["tasks"].items():
        named = [f"domain={domain}", f"task.name={task}"]
        finetune = compose("finetune", [*named, *overrides.get("finetune", [])])
        yield f"finetune-{task}", finetune
        # What is scored and what is held to a gate is the kind of task that was trained.
        named.append(f"task={finetune['task']['kind']}")
        yield f"evaluate-{task}", compose("evaluate", [*named, *overrides.get("evaluate", [])])
        yield f"promote-{task}", compose("promote", [*named, *overrides.get("promote", [])])


if __name__ == "__main__":
    main()
