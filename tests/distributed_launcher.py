"""A launcher of two processes, torch's own, on this machine alone and with a time limit."""

import os
import signal
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import torch

ROOT = Path(__file__).parent.parent
SECONDS = 900  # a limit for processes that hang: importing takes five seconds, on a busy machine sixty


def run_distributed(script, *arguments, seconds=SECONDS, processes=2, cwd=None):
    """Run a script in several processes and return what they print; all must succeed."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    started = subprocess.Popen(
        [sys.executable, "-W", "ignore", *launcher(processes), str(script), *map(str, arguments)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
        start_new_session=True,
        cwd=cwd,
    )
    try:
        said, _ = started.communicate(timeout=seconds)
    finally:
        end(started)
    assert started.returncode == 0, said[-6000:]
    return said


def end(started):
    """Terminate the launcher if it still runs; it then ends its processes too, which have sessions of their own."""
    if started.poll() is None:
        started.terminate()
        try:
            started.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(started.pid, signal.SIGKILL)


def launcher(processes):
    if find_spec("torch.distributed.run") is not None:
        return ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    return [
        "-m",
        "torch.distributed.launch",
        "--use_env",
        "--nproc_per_node",
        str(processes),
        "--master_addr",
        "127.0.0.1",
        "--master_port",
        str(find_free_port()),
    ]


def find_free_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


def current_rank():
    return int(os.environ["RANK"])


def write(folder, found):
    torch.save(found, str(Path(folder) / f"{current_rank()}.pt"))


def read(folder, processes=2):
    """Read what each process has written."""
    load = {} if not hasattr(torch.serialization, "safe_globals") else {"weights_only": False}
    return [torch.load(str(Path(folder) / f"{rank}.pt"), **load) for rank in range(processes)]
