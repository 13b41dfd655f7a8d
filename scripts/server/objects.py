"""An S3 store to try things with: moto's server. It keeps objects in memory and checks no keys."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts.server.processes import answers_http, running
from vertiform.errors import TrackingError

BUCKET = "vertiform"


@contextmanager
def moto(folder: Path, *, port: int) -> Iterator[subprocess.Popen]:
    """Run moto's server with an empty bucket. What is in it is gone when the block ends."""
    for package in ("moto", "boto3"):
        if importlib.util.find_spec(package) is None:
            raise TrackingError(
                f"The package {package}, which an S3 store needs, is not installed.",
                fix="run `pip install -e '.[server]'`, or keep files in a folder (the default).",
            )
    folder.mkdir(parents=True, exist_ok=True)
    address = moto_address(port)
    with running(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        log=folder / "moto.log",
        environment={name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ},
        answers=answers_http(f"{address}/moto-api/data.json"),
    ) as process:
        s3_client(port).create_bucket(Bucket=BUCKET)
        yield process


def moto_address(port: int) -> str:
    """Return where moto's server listens."""
    return f"http://127.0.0.1:{port}"


def environment(port: int) -> dict[str, str]:
    """Return what makes MLflow's server keep its files there.

    moto accepts any key, so this pair is no secret. Keys of a real store come from AWS_*.
    """
    return {
        "MLFLOW_S3_ENDPOINT_URL": moto_address(port),
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": os.environ.get("AWS_ACCESS_KEY_ID", "moto"),
        "AWS_SECRET_ACCESS_KEY": os.environ.get("AWS_SECRET_ACCESS_KEY", "checks-no-keys"),
    }


def s3_client(port: int):
    """Return boto3's client of that server."""
    import boto3

    given = environment(port)
    return boto3.client(
        "s3",
        endpoint_url=given["MLFLOW_S3_ENDPOINT_URL"],
        region_name=given["AWS_DEFAULT_REGION"],
        aws_access_key_id=given["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=given["AWS_SECRET_ACCESS_KEY"],
    )
