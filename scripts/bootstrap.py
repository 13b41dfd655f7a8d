"""Builds .venv from requirements.lock. Standard library only, and old syntax on purpose: it has to
run on whatever `python3` is, to be able to say that it is too old."""

import os
import shutil
import subprocess
import sys

OLDEST = (3, 11)
NEEDED_GIGABYTES = 6  # 2.3 GB with the CPU build of torch, more with CUDA's
ENVIRONMENT = ".venv"
COMPLETE = os.path.join(ENVIRONMENT, "complete")


def main():
    python = find_python()
    if python is None:
        fail(
            "Python %d.%d is too old." % sys.version_info[:2],
            "install Python 3.11 or newer, or name one: make demo PYTHON=/path/to/python3.11",
        )
    if shutil.which("git") is None:
        fail("git is not installed.", "install it with your system's package manager.")
    free = shutil.disk_usage(".").free / 1e9
    if free < NEEDED_GIGABYTES:
        fail(
            "Only %.1f GB are free on this disk; the environment needs %d."
            % (free, NEEDED_GIGABYTES),
            "free some space, or clone Vertiform to a larger disk.",
        )
    build(python)


def find_python():
    """The running interpreter if it is new enough, else a newer one on PATH, else None."""
    if sys.version_info >= OLDEST:
        return sys.executable
    for minor in range(OLDEST[1], OLDEST[1] + 4):
        found = shutil.which("python3.%d" % minor)
        if found:
            return found
    return None


def build(python):
    print("Building %s from requirements.lock: about two minutes and 2.5 GB." % ENVIRONMENT)
    if subprocess.call([python, "-m", "venv", ENVIRONMENT]) != 0:
        fail(
            "%s could not make a virtual environment." % python,
            "install its venv module (on Debian and Ubuntu: apt install python3-venv).",
        )
    # torch goes first and with its own requirements, which differ by platform.
    with open("requirements.lock") as lock:
        torch = next(line.strip() for line in lock if line.startswith("torch=="))
    install("1 of 3: torch", [torch])
    install("2 of 3: everything else", ["--no-deps", "-r", "requirements.lock"])
    install("3 of 3: vertiform", ["--no-deps", "--no-build-isolation", "-e", "."])
    with open(COMPLETE, "w"):
        pass
    print(
        "Environment ready. `. %s/bin/activate` puts `vertiform` and `dvc` on your path."
        % ENVIRONMENT
    )


def install(what, arguments):
    print("  " + what)
    sys.stdout.flush()
    pip = os.path.join(ENVIRONMENT, "bin", "python")
    command = [pip, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"] + arguments
    if subprocess.call(command) != 0:
        fail(
            "pip could not install %s." % " ".join(arguments),
            "check the network and the lines above, then run the same command again; it goes on.",
        )


def fail(problem, fix):
    sys.stderr.write("Error: %s\n  Fix: %s\n" % (problem, fix))
    sys.exit(2)


if __name__ == "__main__":
    main()
