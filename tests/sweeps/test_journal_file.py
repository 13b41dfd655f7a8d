"""The file below Optuna's JournalStorage: the same answers, and nothing lost."""

import json
import pickle
from pathlib import Path

import optuna
import pytest
from optuna.storages import InMemoryStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._storage import JournalOperation
from optuna.testing.pytest_storages import StorageTestCase

from vertiform.errors import StorageError
from vertiform.sweeps import journal_file
from vertiform.sweeps.journal_file import JournalFile
from vertiform.tracking.journal_lines import with_checksum

FIRST_OF_TRIAL = JournalOperation.CREATE_TRIAL
OF_TRIAL = JournalOperation.SET_TRIAL_INTERMEDIATE_VALUE


class TestAsOptunaAsksOfEveryStorage(StorageTestCase):
    """Optuna's own conformance tests."""

    @pytest.fixture
    def storage(self, tmp_path: Path) -> JournalStorage:
        return JournalStorage(JournalFile(tmp_path / "journal.lines"))


def record(number: int, *, op_code: int = OF_TRIAL) -> dict:
    return {"op_code": op_code, "worker_id": "one", "step": number, "value": number / 3}


def with_records(path: Path, num: int) -> JournalFile:
    journal = JournalFile(path)
    for number in range(num):
        journal.append_logs([record(number)])
    return journal


def steps(journal: JournalFile, *, start: int = 0) -> list[int]:
    return [each["step"] for each in journal.read_logs(start)]


def objective(trial: optuna.Trial) -> float:
    """Branches, a choice, a log scale and reports, some of which are not numbers."""
    lr = trial.suggest_float("lr", 1e-5, 1e-1, log=True)
    layers = trial.suggest_int("layers", 1, 4)
    kind = trial.suggest_categorical("kind", ["adam", "muon", None])
    momentum = trial.suggest_float("momentum", 0.0, 1.0) if kind == "muon" else 0.5
    value = abs(lr - 1e-3) + layers * momentum
    for step in range(3):
        trial.report(float("nan") if layers == 4 and step == 1 else value + 1 / (step + 1), step)
        if trial.should_prune():
            raise optuna.TrialPruned
    return value


def answers_of(storage: optuna.storages.BaseStorage) -> list[tuple]:
    sampler = optuna.samplers.TPESampler(
        seed=1, n_startup_trials=5, multivariate=True, group=True, constant_liar=True
    )
    pruner = optuna.pruners.MedianPruner(n_startup_trials=3)
    study = optuna.create_study(storage=storage, sampler=sampler, pruner=pruner, study_name="same")
    study.set_user_attr("seen", {"floats": [0.1, 1e-300], "text": "\u00e6\n"})
    study.optimize(objective, n_trials=40)
    facts = [
        (t.number, t.state, t.params, t.values, str(t.intermediate_values), t.distributions)
        for t in study.trials
    ]
    return [study.user_attrs, *facts]


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_study_gets_the_answers_that_it_gets_in_memory(tmp_path):
    journal = tmp_path / "journal.lines"
    answers = answers_of(JournalStorage(JournalFile(journal)))
    assert answers == answers_of(InMemoryStorage())
    again = optuna.load_study(study_name="same", storage=JournalStorage(JournalFile(journal)))
    assert [trial.params for trial in again.trials] == [params for _, _, params, *_ in answers[1:]]


def test_a_journal_cut_at_any_byte_of_its_last_record_opens_and_goes_on(tmp_path):
    path = tmp_path / "journal.lines"
    with_records(path, 4).close()
    whole = path.read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    for cut in range(last, len(whole)):
        path.write_bytes(whole[:cut])
        reader, writer = JournalFile(path), JournalFile(path)
        assert steps(reader) == [0, 1, 2]
        writer.append_logs([record(7)])
        assert steps(reader, start=3) == steps(writer, start=3) == [7]
        assert steps(JournalFile(path)) == [0, 1, 2, 7]


def test_optunas_own_file_does_not_survive_such_a_cut(tmp_path):
    path = tmp_path / "optuna.log"
    journal = JournalFileBackend(str(path))
    for number in range(3):
        journal.append_logs([record(number)])
    path.write_bytes(path.read_bytes()[:-17])
    JournalFileBackend(str(path)).append_logs([record(7)])
    JournalFileBackend(str(path)).append_logs([record(8)])
    with pytest.raises(json.JSONDecodeError):
        list(JournalFileBackend(str(path)).read_logs(0))


def test_zeros_that_a_power_loss_left_at_the_end_are_cut(tmp_path):
    path = tmp_path / "journal.lines"
    journal = with_records(path, 3)
    with path.open("ab") as file:
        file.write(bytes(5000) + b"\n" + bytes(90))
    journal.append_logs([record(3)])
    assert steps(journal) == steps(JournalFile(path)) == [0, 1, 2, 3]


def test_a_record_with_one_flipped_bit_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "journal.lines"
    with_records(path, 3).close()
    text = bytearray(path.read_bytes())
    text[len(text) // 2] ^= 1 << 3
    path.write_bytes(text)
    assert steps(JournalFile(path)) == [0, 1, 2]


def test_a_damaged_record_in_the_middle_is_named_and_its_fix_keeps_those_before(tmp_path):
    path = tmp_path / "journal.lines"
    journal = with_records(path, 5)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], b"x" * 9 + lines[2][9:], *lines[3:]]))
    with pytest.raises(
        StorageError, match=r"Record 3 of .*damaged(?s:.)*keep the 2 records"
    ) as said:
        steps(JournalFile(path))
    journal.append_logs([record(5)])  # it has seen the file whole
    size = int(said.value.fix.partition("--size=")[2].split()[0])
    path.write_bytes(path.read_bytes()[:size])
    assert steps(JournalFile(path)) == [0, 1]


def test_a_writer_that_comes_later_refuses_a_journal_damaged_in_the_middle(tmp_path):
    path = tmp_path / "journal.lines"
    with_records(path, 4).close()
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], b"x" * 9 + lines[1][9:], *lines[2:]]))
    before = path.read_bytes()
    with pytest.raises(StorageError, match="Record 2 of"):
        JournalFile(path).append_logs([record(4)])
    assert path.read_bytes() == before


def test_a_file_of_something_else_is_refused_and_left_as_it_is(tmp_path):
    path = tmp_path / "journal.lines"
    JournalFileBackend(str(path)).append_logs([record(0)])
    before = path.read_bytes()
    with pytest.raises(StorageError, match=r"is not the file of a sweep(?s:.)*move it away"):
        JournalFile(path)
    assert path.read_bytes() == before


def test_records_of_several_chunks_are_read_once_each(tmp_path, monkeypatch):
    monkeypatch.setattr(journal_file, "READ_BYTES", 64)
    journal = with_records(tmp_path / "journal.lines", 10)
    assert steps(journal) == list(range(10))
    assert steps(journal, start=7) == [7, 8, 9]


def test_a_reader_may_stop_anywhere_and_ask_for_the_rest(tmp_path):
    journal = with_records(tmp_path / "journal.lines", 5)
    logs = journal.read_logs(0)
    assert [next(logs)["step"], next(logs)["step"]] == [0, 1]
    assert steps(journal, start=2) == [2, 3, 4]
    assert steps(journal) == [0, 1, 2, 3, 4]


def test_what_was_written_and_what_others_wrote_meanwhile_is_read_in_the_files_order(tmp_path):
    one, other = (JournalFile(tmp_path / "journal.lines") for _ in range(2))
    one.append_logs([record(0)])
    assert steps(one) == [0]
    one.append_logs([record(1)])
    one.append_logs([record(2)])
    other.append_logs([record(3)])
    one.append_logs([record(4)])
    assert steps(one, start=1) == [1, 2, 3, 4]
    one.append_logs([record(5)])
    other.append_logs([record(6)])
    assert steps(one, start=5) == [5, 6]
    assert steps(one) == steps(other) == list(range(7))


def test_two_that_are_open_in_one_process_see_each_others_records(tmp_path):
    one, other = (JournalFile(tmp_path / "journal.lines") for _ in range(2))
    for number in range(0, 6, 2):
        one.append_logs([record(number)])
        other.append_logs([record(number + 1)])
    assert steps(one) == steps(other) == list(range(6))


def test_a_pickled_one_opens_the_same_file(tmp_path):
    journal = with_records(tmp_path / "journal.lines", 3)
    assert steps(pickle.loads(pickle.dumps(journal))) == [0, 1, 2]


def test_only_what_a_running_trial_can_do_again_is_left_unsynced(tmp_path, monkeypatch):
    journal, synced = JournalFile(tmp_path / "journal.lines"), []
    sync = journal_file.os.fdatasync
    monkeypatch.setattr(journal_file.os, "fdatasync", lambda file: synced.append(sync(file)))
    left = set()
    for operation in JournalOperation:
        before = len(synced)
        journal.append_logs([record(0, op_code=operation)])
        left |= {operation.name} if len(synced) == before else set()
    assert left == {
        "SET_TRIAL_PARAM",
        "SET_TRIAL_INTERMEDIATE_VALUE",
        "SET_TRIAL_USER_ATTR",
        "SET_TRIAL_SYSTEM_ATTR",
    }


def test_a_file_that_was_deleted_meanwhile_is_said_so(tmp_path):
    journal = with_records(tmp_path / "journal.lines", 2)
    (tmp_path / "journal.lines").unlink()
    with pytest.raises(StorageError, match=r"was deleted while(?s:.)*begins a new study"):
        journal.append_logs([record(2, op_code=FIRST_OF_TRIAL)])


def test_a_full_disk_is_named_and_half_a_record_is_not_left(tmp_path, monkeypatch):
    path = tmp_path / "journal.lines"
    journal, write = with_records(path, 2), journal_file.os.write
    before = path.read_bytes()
    monkeypatch.setattr(journal_file.os, "write", lambda file, text: write(file, text[:20]))
    with pytest.raises(StorageError, match=r"no space is left(?s:.)*it goes on"):
        journal.append_logs([record(2)])
    assert path.read_bytes() == before
    monkeypatch.setattr(journal_file.os, "write", write)
    journal.append_logs([record(2)])
    assert steps(journal) == [0, 1, 2]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(StorageError, match=r"cannot be written(?s:.)*Fix:"):
        JournalFile(tmp_path / "absent" / "journal.lines")


def test_a_line_is_a_checksum_and_json(tmp_path):
    with_records(tmp_path / "journal.lines", 1)
    rest = b'{"op_code":7,"worker_id":"one","step":0,"value":0.0}'
    assert (tmp_path / "journal.lines").read_bytes() == with_checksum(rest)
