"""Worker processes: what ends them, and what they cannot do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import CancelledError

import pytest

from dsguard._parallel.processes import Workers
from dsguard.errors import WorkerError


def sleep_for_ever(started):
    started.touch()
    while True:
        time.sleep(1)


def test_stopped_at_once_nothing_goes_on(tmp_path):
    workers = Workers(2, __name__)
    futures = [workers.submit(sleep_for_ever, tmp_path / str(n)) for n in range(5)]
    while len(list(tmp_path.iterdir())) < 2:  # the time limit of tests ends it
        time.sleep(0.01)
    workers.stop(at_once=True)
    for future in futures:
        with pytest.raises(CancelledError):
            future.result()
    assert len(list(tmp_path.iterdir())) == 2


def test_workers_that_cannot_be_started_are_not_said_to_have_been_killed(monkeypatch):
    workers = Workers(1, __name__)

    def refuse(**_):
        msg = "AF_UNIX path too long"
        raise OSError(msg)

    monkeypatch.setattr(workers._context, "Process", refuse)
    with pytest.raises(WorkerError, match="cannot be started: AF_UNIX path too long"):
        workers.submit(abs, -1).result()
    workers.stop()


class UnsentError(Exception):
    """An error that holds something of this process."""

    def __reduce__(self):
        raise TypeError


def raise_what_cannot_be_sent():
    msg = "403 of a server"
    raise UnsentError(msg)


def test_errors_that_cannot_be_sent_are_told():
    workers = Workers(1, __name__)
    with pytest.raises(RuntimeError, match="UnsentError: 403 of a server"):
        workers.submit(raise_what_cannot_be_sent).result()
    assert workers.submit(abs, -1).result() == 1
    workers.stop()


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="no masks of signals here")
def test_an_interrupt_of_the_terminal_is_not_for_workers():
    workers = Workers(1, __name__)
    process = workers.submit(os.getpid).result()
    os.kill(process, signal.SIGINT)
    assert workers.submit(os.getpid).result() == process
    workers.stop()


EVIL = "import os\nopen(os.environ['MARK'], 'w').close()\n"


@pytest.mark.parametrize("name", ["selectors", "select", "socket", "multiprocessing", "dsguard"])
def test_nothing_in_the_current_folder_is_imported(tmp_path, name):
    """It may be a dataset of strangers."""
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / f"{name}.py").write_text(EVIL)
    script = tmp_path / "script.py"
    script.write_text(
        "import os\n"
        "from dsguard._parallel.processes import Workers\n"
        "if __name__ == '__main__':\n"
        "    workers = Workers(2, 'dsguard.errors')\n"
        "    print(workers.submit(os.getpid).result() != os.getpid())\n"
        "    workers.stop()\n"
        "    print(os.environ.get('PYTHONSAFEPATH'))\n"
    )
    mark = tmp_path / "mark"
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONSAFEPATH"}
    done = subprocess.run(
        [sys.executable, script],
        cwd=tmp_path / "here",
        env=environment | {"MARK": str(mark)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["True", "None"]
    assert not mark.exists()
