"""Tells others that an alias has moved: a command, a webhook, or both (conf/promote.yaml).

An event is told after the move and never undoes it. What became of it is marked on the entry.
"""

import hashlib
import hmac
import json
import logging
import os
import shlex
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from vertiform.errors import ConfigError
from vertiform.tracking.chain import EVENT, Entry
from vertiform.tracking.ledger import mark
from vertiform.tracking.registry import LEDGER
from vertiform.tracking.store import Store, without_credentials

SECRET = "VERTIFORM_WEBHOOK_SECRET"  # of the environment; signs what a webhook is sent
SIGNATURE = "Vertiform-Signature"
MAX_TRIES = 3
SECONDS_PER_POST = 5.0
SECONDS_PER_COMMAND = 30.0
PAUSE_SECONDS = 0.5  # before the second try; twice that before the third

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Events:
    """Who is told when an alias has moved; None is nobody."""

    command: str | None  # gets the JSON on its standard input
    webhook: str | None  # address that gets the JSON by POST

    def __post_init__(self) -> None:
        if self.webhook and not self.webhook.startswith(("http://", "https://")):
            raise ConfigError(
                f"events.webhook is {without_credentials(self.webhook)}, which is no address.",
                fix="write http://... or https://... in conf/promote.yaml.",
            )
        if self.webhook and self.webhook != without_credentials(self.webhook):
            raise ConfigError(
                "events.webhook holds a user name or a password.",
                fix=f"take it out; a receiver knows us by the signature: set {SECRET}.",
            )


class NotTold(Exception):  # noqa: N818 - an alias that moved stays moved: not an error to end with
    """The receiver was not reached or did not accept; `again` says whether a retry may help."""

    def __init__(self, problem: str, *, again: bool) -> None:
        super().__init__(problem)
        self.again = again


def announce(store: Store, entry: Entry, events: Events) -> None:
    """Tell whoever conf/promote.yaml names that the alias has moved; three tries each."""
    body = json.dumps(_event(entry), sort_keys=True).encode()
    ways: dict[str, Callable[[], None]] = {}
    if events.command:
        ways["command"] = lambda: _run(events.command or "", body)
    if events.webhook:
        ways["webhook"] = lambda: _post(events.webhook or "", body, _delivery(entry))
    said = []
    for name, tell in ways.items():
        problem = _tried(tell)
        said.append(f"{name} not told: {problem}" if problem else f"{name} told")
        if problem:
            logger.warning("The alias has moved, but the %s was not told of it: %s", name, problem)
    if said:
        at = datetime.now(UTC).isoformat(timespec="seconds")
        mark(store, entry, EVENT, f"{'; '.join(said)} ({at})")


def signature(body: bytes, secret: str) -> str:
    """Sign what is sent, so that a receiver that shares the secret knows it is from us."""
    return f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"


def _event(entry: Entry) -> dict[str, object]:
    decision = asdict(entry.decision)
    told = ("model", "alias", "before", "version", "action", "forced", "who", "when", "reason")
    return {
        "event": "alias moved",
        "uri": f"models:/{entry.decision.model}/{entry.decision.version}",
        "entry": entry.number,
        "sha256": entry.sha256,
        **{key: decision[key] for key in told},
    }


def _delivery(entry: Entry) -> str:
    """Name the event the same at every try, so that a receiver can tell a repetition."""
    return f"{LEDGER}-{entry.number}-{entry.sha256[:12]}"


def _tried(tell: Callable[[], None]) -> str | None:
    """Return the last problem if no try succeeded."""
    for number in range(1, MAX_TRIES + 1):
        try:
            tell()
        except NotTold as problem:
            if not problem.again or number == MAX_TRIES:
                return f"{problem} ({number} of {MAX_TRIES} tries)"
            time.sleep(PAUSE_SECONDS * number)
        else:
            return None
    raise AssertionError("at least one try is made")


def _run(command: str, body: bytes) -> None:
    try:
        ended = subprocess.run(
            shlex.split(command), input=body, capture_output=True, timeout=SECONDS_PER_COMMAND
        )
    except subprocess.TimeoutExpired:
        raise NotTold(f"it did not end within {SECONDS_PER_COMMAND:g} s", again=False) from None
    except (OSError, ValueError) as error:
        raise NotTold(f"it cannot be run: {error}", again=False) from error
    if ended.returncode != 0:
        last = ended.stderr.decode(errors="replace").strip().splitlines()[-1:]
        said = f": {without_credentials(last[0][:200])}" if last else ""
        raise NotTold(f"it ended with {ended.returncode}{said}", again=True)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirected POST would arrive as a GET without its body."""

    def redirect_request(self, *_: object, **__: object) -> None:
        return None


def _post(address: str, body: bytes, delivery: str) -> None:
    headers = {"Content-Type": "application/json", "Idempotency-Key": delivery}
    if secret := os.environ.get(SECRET):
        headers[SIGNATURE] = signature(body, secret)
    request = urllib.request.Request(address, data=body, headers=headers, method="POST")
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=SECONDS_PER_POST):
            pass
    except urllib.error.HTTPError as error:
        again = error.code >= 500 or error.code in (408, 429)
        raise NotTold(f"it answered {error.code}", again=again) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise NotTold(f"it was not reached: {reason}", again=True) from error
