"""A command of ``fastai-hf`` in a fork of this process, which has already imported the slow libraries."""

import contextlib
import os
import shlex
import signal
import sys
import time
import traceback
from tempfile import TemporaryFile

import torch

SECONDS = 900  # a limit for a copy that hangs


def run_in_a_copy(command):
    """Return a command's exit code and what it printed; nothing changes in this process."""
    sys.stdout.flush()
    sys.stderr.flush()
    with TemporaryFile() as printed:
        child = os.fork()
        if child == 0:
            _run_and_exit(shlex.split(command)[1:], printed.fileno())
        code = _exit_code_of(child)
        printed.seek(0)
        return code, printed.read().decode(errors="replace")


def _run_and_exit(arguments, printed):
    code = 1
    try:
        os.dup2(printed, 1)
        os.dup2(printed, 2)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)
        torch.set_num_threads(1)  # a fork does not have the threads of the original process
        code = _main(arguments)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _main(arguments):
    from fastai_hf_callback.cli.main import main

    try:
        return int(main(arguments) or 0)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)


def _exit_code_of(child):
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    raise AssertionError(f"still running after {SECONDS} seconds")
