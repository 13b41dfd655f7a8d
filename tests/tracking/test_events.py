"""Who is told when an alias moves: real commands, and a real receiver on this machine."""

import hashlib
import hmac
import json
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from tests.tracking.examples import promoted
from vertiform.errors import ConfigError
from vertiform.tracking import events
from vertiform.tracking.chain import EVENT
from vertiform.tracking.decisions import rollback
from vertiform.tracking.events import Events, announce
from vertiform.tracking.history import history

SECRET = "not much of a secret"


@dataclass
class Receiver:
    """A deployment that follows an alias."""

    address: str = ""
    answers: list[int] = field(default_factory=list)  # the last one from then on
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)


@contextmanager
def receiving(*answers: int):
    receiver = Receiver(answers=list(answers))

    class Take(BaseHTTPRequestHandler):
        def do_POST(self):
            receiver.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            receiver.headers.append(dict(self.headers))
            answers = receiver.answers
            self.send_response(answers.pop(0) if len(answers) > 1 else answers[0])
            self.send_header("Location", "/elsewhere")
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Take) as server:
        receiver.address = f"http://127.0.0.1:{server.server_port}/moved"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield receiver
        finally:
            server.shutdown()


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(events, "PAUSE_SECONDS", 0.0)
    monkeypatch.delenv(events.SECRET, raising=False)


def mark_of(shelf, number=-1):
    return history(shelf.store, shelf.name).entries[number].marks.get(EVENT)


def moved(shelf, **told):
    entry = promoted(shelf.store, shelf.next_version(), reason="it earned it")
    announce(shelf.store, entry, Events(**({"command": None, "webhook": None} | told)))
    return entry


def test_a_receiver_learns_which_version_stands_where_from_when_by_whom_and_why(shelf):
    with receiving(200) as receiver:
        entry = moved(shelf, webhook=receiver.address)
    (body,) = receiver.bodies
    told = json.loads(body)
    assert told["uri"] == f"models:/{shelf.name}/1"
    assert (told["alias"], told["before"], told["version"]) == ("staging", None, 1)
    assert (told["action"], told["reason"], told["forced"]) == ("moved", "it earned it", False)
    assert (told["entry"], told["sha256"]) == (entry.number, entry.sha256)
    assert told["who"] == entry.decision.who
    assert mark_of(shelf).startswith("webhook told (2")


def test_a_rollback_is_told_too(shelf):
    shelf.promoted()
    shelf.promoted()
    entry = rollback(shelf.store, shelf.name, "staging", reason="too slow")
    with receiving(204) as receiver:
        announce(shelf.store, entry, Events(command=None, webhook=receiver.address))
    told = json.loads(receiver.bodies[0])
    assert (told["action"], told["before"], told["version"]) == ("rolled back", 2, 1)


def test_what_is_sent_is_signed_with_the_secret_of_the_environment(shelf, monkeypatch):
    monkeypatch.setenv(events.SECRET, SECRET)
    with receiving(200) as receiver:
        moved(shelf, webhook=receiver.address)
    expected = hmac.new(SECRET.encode(), receiver.bodies[0], hashlib.sha256).hexdigest()
    assert receiver.headers[0]["Vertiform-Signature"] == f"sha256={expected}"
    assert SECRET.encode() not in receiver.bodies[0]


def test_without_a_secret_nothing_is_signed(shelf):
    with receiving(200) as receiver:
        moved(shelf, webhook=receiver.address)
    assert "Vertiform-Signature" not in receiver.headers[0]


def test_a_receiver_that_was_busy_is_asked_again_under_the_same_key(shelf):
    with receiving(500, 429, 200) as receiver:
        entry = moved(shelf, webhook=receiver.address)
    keys = [headers["Idempotency-Key"] for headers in receiver.headers]
    assert keys == [f"vertiform-decisions-{entry.number}-{entry.sha256[:12]}"] * 3
    assert len(set(receiver.bodies)) == 1
    assert mark_of(shelf).startswith("webhook told")


def test_a_receiver_that_never_takes_it_does_not_undo_the_move(shelf, caplog):
    with receiving(503) as receiver:
        moved(shelf, webhook=receiver.address)
    assert len(receiver.bodies) == 3
    assert shelf.aliases["staging"] == 1
    said = "the webhook was not told of it: it answered 503 (3 of 3 tries)"
    assert said in caplog.text
    assert mark_of(shelf).startswith("webhook not told: it answered 503 (3 of 3 tries)")


@pytest.mark.parametrize("answer", [400, 302])
def test_a_receiver_that_refuses_or_sends_elsewhere_is_not_asked_again(shelf, answer):
    with receiving(answer) as receiver:
        moved(shelf, webhook=receiver.address)
    assert len(receiver.bodies) == 1
    assert f"it answered {answer} (1 of 3 tries)" in mark_of(shelf)


def test_a_receiver_that_is_not_there_is_told_in_one_line(shelf, caplog):
    with receiving(200) as gone:
        pass
    moved(shelf, webhook=gone.address)
    assert "it was not reached: " in mark_of(shelf)
    assert len(caplog.text.strip().splitlines()) == 1


def test_a_command_gets_the_event_on_its_standard_input(shelf, tmp_path):
    out = tmp_path / "told.json"
    script = "import sys, pathlib; pathlib.Path(sys.argv[1]).write_text(sys.stdin.read())"
    moved(shelf, command=f'{sys.executable} -c "{script}" {out}')
    assert json.loads(out.read_text())["version"] == 1
    assert mark_of(shelf).startswith("command told")


def test_a_command_that_fails_is_told_with_its_last_line_and_no_password(shelf):
    script = "import sys; sys.exit('cannot push to http://ann:secret@host')"
    moved(shelf, command=f'{sys.executable} -c "{script}"')
    assert "it ended with 1: cannot push to http://***@host (3 of 3 tries)" in mark_of(shelf)


def test_a_command_that_does_not_exist_or_does_not_end_is_told(shelf, monkeypatch):
    moved(shelf, command="no-such-command --now")
    assert "it cannot be run: " in mark_of(shelf)
    monkeypatch.setattr(events, "SECONDS_PER_COMMAND", 0.2)
    moved(shelf, command=f'{sys.executable} -c "import time; time.sleep(60)"')
    assert "it did not end within 0.2 s (1 of 3 tries)" in mark_of(shelf)


def test_nobody_to_tell_leaves_no_mark(shelf):
    moved(shelf)
    assert mark_of(shelf) is None


def test_an_address_with_a_password_or_without_a_scheme_is_refused():
    with pytest.raises(ConfigError, match="VERTIFORM_WEBHOOK_SECRET") as raised:
        Events(command=None, webhook="https://ann:secret@host/moved")
    assert "secret@" not in str(raised.value)
    with pytest.raises(ConfigError, match=r"write http://"):
        Events(command=None, webhook="host/moved")
