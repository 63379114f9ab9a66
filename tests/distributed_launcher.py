"""Two processes on this machine alone, with a time limit: by torch's own launcher, or forked from this one."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
import traceback
import warnings
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np
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


def run_in_forks(act, *arguments, processes=2, seconds=SECONDS):
    """Call `act` in forks of this process, which has imported the slow libraries already; all must succeed.

    Each has the rank and the address that torch's launcher would give it, and the random states of a new process.
    """
    address = dict(MASTER_ADDR="127.0.0.1", MASTER_PORT=find_free_port(), WORLD_SIZE=processes)
    sys.stdout.flush()
    sys.stderr.flush()
    with TemporaryFile() as printed:
        forks = [os.fork() or _act_and_exit(act, arguments, printed.fileno(), address, at) for at in range(processes)]
        succeeded = _wait_for(forks, time.monotonic() + seconds)
        printed.seek(0)
        assert succeeded, printed.read().decode(errors="replace")[-6000:]


def _act_and_exit(act, arguments, printed, address, rank):
    code = 1
    try:
        os.dup2(printed, 1)
        os.dup2(printed, 2)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)
        os.environ.update({name: str(value) for name, value in dict(address, RANK=rank, LOCAL_RANK=rank).items()})
        random.seed()
        np.random.seed()
        torch.manual_seed(rank)
        torch.set_num_threads(1)  # a fork does not have the threads of the original process
        warnings.simplefilter("ignore")
        act(*arguments)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _wait_for(forks, deadline):
    """Return whether all ended well; when one did not, or it takes too long, the others are killed."""
    running, well = set(forks), True
    while running:
        for fork in list(running):
            ended, status = os.waitpid(fork, os.WNOHANG)
            if ended:
                running.remove(fork)
                well = well and status == 0
        if running and (not well or time.monotonic() > deadline):
            well = False
            for fork in running:
                os.kill(fork, signal.SIGKILL)
        time.sleep(0.02)
    return well


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
