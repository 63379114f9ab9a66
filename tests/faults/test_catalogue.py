"""Each seeded fault builds, is the same each time, and fails as loudly or as silently as it says."""

import re
import warnings
from pathlib import Path
from typing import Iterable, List, Set

import pytest
import torch

from fastai_hf_callback.diagnosis.checks import CAUSE_ORDER
from fastai_hf_callback.diagnosis.checks.failures import REASONS
from tests.faults.catalogue import FAMILIES, FAULTS, all_cases
from tests.faults.cause_descriptions import CAUSES
from tests.faults.fault import Fault
from tests.faults.one_fastai_only import ONLY_ON
from tests.faults.stacks import stack

CASES = list(all_cases())
DOCS = Path(__file__).resolve().parents[2] / "docs" / "evidence"
QUICK = {
    "callback-detaches-output",
    "model-swapped",
    "one-nan-in-the-head",
    "patch-below-hfcallback",
    "sigmoid-in-the-model",
    "mask-inverted",
    "targets-with-targets",
    "nothing-unwraps",
}
BERT, IS_ERA = stack.named("bert"), torch.__version__.startswith("1.4.")
# Fastai 1 has two stacks, which take other cases: together they run one in twelve.
ONE_IN, FIRST = (24, 12 if IS_ERA else 0) if stack.NAME == "fastai 1" else (30, 0)


def cases() -> List[object]:
    """The quick ones, and one in so many of the others: `make faults` judges them all."""
    chosen = [(f, a) for i, (f, a) in enumerate(CASES) if i % ONE_IN == FIRST or f.name in QUICK and a == BERT]
    return [
        pytest.param(fault, architecture, id=f"{fault.name}-{architecture}", marks=marks(fault, architecture))
        for fault, architecture in chosen
    ]


def marks(fault: Fault, architecture: str) -> List[object]:
    return [] if fault.name in QUICK and architecture == BERT else [pytest.mark.slow]


@pytest.mark.parametrize("fault, architecture", cases())
def test_does_as_it_says(fault, architecture):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        failed = outcome(fault, architecture)
    assert bool(failed) == fault.loud, failed


def outcome(fault: Fault, architecture: str) -> str:
    """The error of its fit or of validate after it, or nothing."""
    try:
        learn = fault.build(architecture)
        with stack.no_progress(learn):
            fault.fit(learn)
            learn.validate()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    finally:
        if fault.undo:
            fault.undo()
    return ""


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault.name in QUICK], ids=lambda fault: fault.name)
def test_builds_the_same_each_time(fault):
    try:
        learners = [fault.build(BERT, seed=3) for _ in range(2)]
    finally:
        if fault.undo:
            fault.undo()
    for one, other in zip(*(learn.model.state_dict().values() for learn in learners)):
        assert bool(((one == other) | (one != one)).all())
    (texts, *_), (same, *_) = (stack.tensors_of(learn) for learn in learners)
    assert torch.equal(texts, same)


def test_names_are_in_kebab_case_and_families_share_none():
    names = [fault.name for family in FAMILIES.values() for fault in family]
    assert len(names) == len(set(names)) == len(FAULTS)
    assert all(part.isalnum() and part == part.lower() for name in names for part in name.split("-"))


def test_what_the_other_fastai_lacks_is_said_with_its_reason():
    own = {fault.name for fault in FAMILIES[f"only on {stack.NAME}"]}
    assert own == set(ONLY_ON[stack.NAME])
    assert not own & set(ONLY_ON[stack.OTHER])
    assert all(ONLY_ON[stack.OTHER].values())


def list_undescribed(described: Iterable[str]) -> Set[str]:
    """List the causes that a check, or an exception's reason, can name and that are not among `described`."""
    return {*CAUSE_ORDER, *REASONS} - set(described)


def test_every_cause_that_a_check_can_name_is_described():
    assert not list_undescribed(CAUSES) and not set(CAUSES) - {*CAUSE_ORDER, *REASONS}
    for cause in ("freeze-without-groups", "batch-not-split", "out-of-memory"):  # the broken arm
        assert list_undescribed(set(CAUSES) - {cause}) == {cause}


@pytest.mark.parametrize("page", ("faults.md", "faults-fastai2.md"))
def test_the_written_catalogue_has_every_cause(page):
    headings = re.findall(r"^### `([a-z0-9-]+)`$", (DOCS / page).read_text("utf-8"), re.MULTILINE)
    assert headings == list(CAUSES)
