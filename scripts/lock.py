"""Writes requirements.lock from the environment in use: every package, exactly."""

import subprocess
import sys
from pathlib import Path

from vertiform.files import written_whole

HEADER = "# Every package, exactly; `make lock` writes it. torch is installed first.\n"


def main() -> None:
    """Freeze what is installed, less Vertiform itself and packages from a file of this machine."""
    frozen = subprocess.run(
        [sys.executable, "-m", "pip", "freeze", "--exclude-editable", "--all"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    # A local label (+cpu, +cu130) names a build, not a release; the index may hold another build.
    frozen = [line.split("+")[0] for line in frozen]
    pins = [
        line for line in frozen if "==" in line and not line.startswith(("pip==", "vertiform=="))
    ]
    with written_whole(Path("requirements.lock")) as file:
        file.write(HEADER + "\n".join(pins) + "\n")


if __name__ == "__main__":
    main()
