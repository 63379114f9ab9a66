"""What the callback computes and the doctor says today is what they computed and said when it was stored, per stack."""

import json
import platform

import pytest

pytest.importorskip("fastai")

from tests import golden_process
from tests.faults.catalogue import FAULTS
from tests.faults.golden import GOLDEN_FAULTS
from tests.parity.golden import STEPS
from tests.parity.matrix import stack_name


def stored(room):
    path = golden_process.path_of(room, stack_name())
    if platform.machine() not in ("x86_64", "AMD64") or not path.is_file():
        pytest.skip(
            f"nothing stored for {stack_name()} on {platform.machine()}: python -m tests.golden_process --write"
        )
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def found():
    stored("parity")  # or there is nothing to compare with
    return golden_process.compute_in_subprocess()


@pytest.mark.slow
def test_both_arms_give_the_stored_losses(found):
    losses, expected = found["parity"], stored("parity")
    assert len(expected["losses"]) == STEPS
    assert losses["callback"] == losses["patched"]
    if losses["arithmetic"] != expected["arithmetic"]:
        pytest.skip(
            f"this CPU computes fixed numbers otherwise ({losses['arithmetic']}) than the one that the losses "
            f"were stored on ({expected['arithmetic']})"
        )
    assert losses["patched"] == expected["losses"]


@pytest.mark.slow
def test_the_doctor_says_what_is_stored(found):
    assert found["faults"] == stored("faults")


def test_the_stored_losses_fall():
    numbers = [float.fromhex(loss) for loss in stored("parity")["losses"]]
    assert sum(numbers[-10:]) < 0.8 * sum(numbers[:10])


def test_what_is_stored_begins_with_a_right_cause():
    findings, right = stored("faults"), {fault.name: fault.causes for fault in FAULTS}
    assert set(findings) == set(GOLDEN_FAULTS)
    assert all(found[0][0] in right[name] for name, found in findings.items())
    assert len({cause for (cause, *_), *_ in findings.values()}) == len(findings)
