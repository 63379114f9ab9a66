"""What the doctor says today of a handful of faulty learners is what it said then: causes, severities, fixes."""

import json
import platform

import pytest

from tests.faults import golden
from tests.faults.catalogue import FAULTS
from tests.parity.matrix import stack_name


@pytest.fixture(scope="module")
def stored():
    path = golden.path_of(stack_name())
    if platform.machine() not in ("x86_64", "AMD64") or not path.is_file():
        pytest.skip(
            f"no golden findings for {stack_name()} on {platform.machine()}: python -m tests.faults.golden --write"
        )
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.slow
def test_the_doctor_says_what_is_stored(stored):
    assert golden.diagnose_in_subprocess() == stored


def test_what_is_stored_begins_with_a_right_cause(stored):
    right = {fault.name: fault.causes for fault in FAULTS}
    assert set(stored) == set(golden.GOLDEN_FAULTS)
    assert all(found[0][0] in right[name] for name, found in stored.items())
    assert len({cause for (cause, *_), *_ in stored.values()}) == len(stored)
