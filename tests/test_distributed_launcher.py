"""Processes forked together: each has its rank, and where one fails the others end and the test does too."""

import os
import time
from pathlib import Path

import pytest

from tests.distributed_launcher import current_rank, read, run_in_forks, write


def write_rank(folder):
    write(folder, (current_rank(), int(os.environ["WORLD_SIZE"]), os.getpid()))


def fail_in_the_second(folder):
    if current_rank() == 1:
        raise ValueError("not this one")
    time.sleep(60)
    Path(str(folder), "slept").touch()


def test_each_has_its_rank_in_a_process_of_its_own(tmp_path):
    run_in_forks(write_rank, tmp_path)
    first, second = read(tmp_path)
    assert (first[:2], second[:2]) == ((0, 2), (1, 2)) and len({first[2], second[2], os.getpid()}) == 3
    assert "RANK" not in os.environ


def test_one_that_fails_ends_the_others_and_is_quoted(tmp_path):
    began = time.monotonic()
    with pytest.raises(AssertionError, match="ValueError: not this one"):
        run_in_forks(fail_in_the_second, tmp_path)
    assert time.monotonic() - began < 50 and not (tmp_path / "slept").exists()


def test_those_that_take_too_long_are_ended(tmp_path):
    with pytest.raises(AssertionError):
        run_in_forks(time.sleep, 60, seconds=0.1)
