"""A hundred steps against losses stored per stack: what the callback computes today is what it computed then."""

import json
import platform

import pytest

pytest.importorskip("fastai")

from tests.parity import golden
from tests.parity.matrix import stack_name

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def stored():
    path = golden.path_of(stack_name())
    if platform.machine() not in ("x86_64", "AMD64") or not path.is_file():
        pytest.skip(
            f"no golden losses for {stack_name()} on {platform.machine()}: python -m tests.parity.golden --write"
        )
    return json.loads(path.read_text(encoding="utf-8"))


def test_both_arms_give_the_stored_losses(stored):
    found = golden.compute_in_subprocess()
    assert len(stored["losses"]) == golden.STEPS
    assert found["callback"] == found["patched"]
    if found["arithmetic"] != stored["arithmetic"]:
        pytest.skip(
            f"this CPU computes fixed numbers otherwise ({found['arithmetic']}) than the one that the losses "
            f"were stored on ({stored['arithmetic']})"
        )
    assert found["patched"] == stored["losses"]


def test_the_stored_losses_fall(stored):
    numbers = [float.fromhex(loss) for loss in stored["losses"]]
    assert sum(numbers[-10:]) < 0.8 * sum(numbers[:10])
