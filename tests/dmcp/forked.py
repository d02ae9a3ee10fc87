"""Processes of `dsguard`, forked from one that has imported what the platform needs.

That takes two to three seconds, and the tests start some hundred of them. Each is a process all the
same: it has an environment, a folder, a group and an exit status of its own, and can be killed.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from tests import ROOT

_PRELOADED = ("dsguard.cli.commands", "dsguard.dmcp.serve", "dsguard.bulk.checks")
_MOST = 1 << 17  # bytes that tell what to run
_lock = threading.Lock()


class Forked:
    """A process of `dsguard`, with what the tests use of `subprocess.Popen`.

    Its errors come with what else it prints, in `stdout`, or apart, in `stderr`.
    """

    def __init__(
        self,
        *arguments: str,
        env: Mapping[str, str],
        cwd: Path | None = None,
        apart: bool = False,
    ) -> None:
        (told, tell), (shown, show) = os.pipe(), os.pipe()
        failed, fail = os.pipe() if apart else (shown, show)
        wanted = {"arguments": arguments, "env": dict(env), "cwd": str(cwd or Path.cwd())}
        with _lock:
            socket.send_fds(_zygote(), [json.dumps(wanted).encode()], [tell, show, fail])
        for end in {tell, show, fail}:
            os.close(end)
        self.stdout = os.fdopen(shown, encoding="utf-8")
        self.stderr = os.fdopen(failed, encoding="utf-8") if apart else None
        self._told = os.fdopen(told, encoding="ascii")
        self.pid = int(self._told.readline())
        self.returncode: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._told], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(["dsguard"], timeout or 0)
            with self._told:
                self.returncode = int(self._told.readline())
        return self.returncode

    def poll(self) -> int | None:
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def terminate(self) -> None:
        os.kill(self.pid, signal.SIGTERM)


def run(
    *arguments: str, env: Mapping[str, str], cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `dsguard` to its end, as `subprocess.run` does that captures its texts."""
    process = Forked(*arguments, env=env, cwd=cwd, apart=True)
    texts = ["", ""]

    def read(number, stream):
        with stream:
            texts[number] = stream.read()

    streams = enumerate((process.stdout, process.stderr))
    readers = [threading.Thread(target=read, args=each) for each in streams]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    return subprocess.CompletedProcess(arguments, process.wait(), *texts)


@functools.cache
def _zygote() -> socket.socket:
    """Start the process that the others are forked from; it ends with this one."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with its:
        command = [sys.executable, "-X", "utf8", "-m", "tests.dmcp.forked", str(its.fileno())]
        process = subprocess.Popen(command, cwd=ROOT, pass_fds=[its.fileno()])
    atexit.register(process.wait)
    atexit.register(ours.close)  # which ends it; the last one is called first
    return ours


def _fork_for_ever(asked: socket.socket) -> None:
    """Fork what is asked for; only a forked process returns, and at the end."""
    while True:
        data, ends, _, _ = socket.recv_fds(asked, _MOST, 3)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:  # of those that have told all
                pass
        if not data:
            os._exit(0)
        if os.fork() == 0:
            break
        for end in ends:
            os.close(end)
    asked.close()
    tell, show, fail = ends
    if pid := os.fork():  # this one tells the pid, and how it ended
        os.close(show)
        os.close(fail)
        os.write(tell, f"{pid}\n".encode())
        _, status = os.waitpid(pid, 0)
        os.write(tell, f"{os.waitstatus_to_exitcode(status)}\n".encode())
        os._exit(0)
    os.setsid()
    sys.stdout, sys.stderr = (  # anew: they know of files whether one can seek in them
        os.fdopen(os.dup2(end, number), "w", 1, encoding="utf-8")
        for number, end in ((1, show), (2, fail))
    )
    os.closerange(3, max(ends) + 1)
    wanted = json.loads(data)
    os.environ.clear()
    os.environ.update(wanted["env"])
    os.chdir(wanted["cwd"])
    sys.argv[1:] = wanted["arguments"]


if __name__ == "__main__":  # worker processes of a service import it as well
    import importlib

    from dsguard.cli import main

    for module in _PRELOADED:
        importlib.import_module(module)
    gc.freeze()  # or each process would copy all that it looks through for what nobody has
    _fork_for_ever(socket.socket(fileno=int(sys.argv[1])))
    main()
