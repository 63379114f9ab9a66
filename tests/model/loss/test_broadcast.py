"""broadcasts: true where a loss compares every row with every target, and nowhere else."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from fastai_hf_callback.model.loss.broadcast import does_loss_broadcast

pytestmark = pytest.mark.filterwarnings("ignore:Using a target size")  # torch's own remark on what is measured here
quick = settings(deadline=None, max_examples=80)


class Flat(nn.Module):
    """A loss that flattens both sides, as fastai's do."""

    def __init__(self, loss):
        super().__init__()
        self.loss = loss

    def forward(self, output, target):
        return self.loss(output.reshape(-1), target.reshape(-1))


def squared(output, target):
    return ((output - target) ** 2).mean()


def squared_root(output, target):
    return ((output - target) ** 2).mean().sqrt()


def soft_f1(output, target):
    return 1 - 2 * (output * target).sum() / (output + target).sum()


def correlation(output, target):
    """Pairs rows, whatever their shapes: a loss of its own that flattens."""
    output, target = output.flatten() - output.mean(), target.flatten() - target.mean()
    return -(output * target).sum()


SPREADS = {
    "MSELoss": nn.MSELoss(),
    "MSELoss sum": nn.MSELoss(reduction="sum"),
    "MSELoss none": nn.MSELoss(reduction="none"),
    "L1Loss": nn.L1Loss(),
    "SmoothL1Loss": nn.SmoothL1Loss(),
    "mse_loss": F.mse_loss,
    "squared": squared,
    "root": squared_root,
    "bound method": nn.MSELoss().forward,
    "lambda": lambda output, target: (output - target).abs().sum(),
}
PAIRS = {
    "flat MSELoss": Flat(nn.MSELoss()),
    "flat L1Loss": Flat(nn.L1Loss()),
    "flat squared": Flat(squared),
    "flat SmoothL1Loss": Flat(nn.SmoothL1Loss()),
    "correlation": correlation,
    "squeezed": lambda output, target: squared(output.squeeze(-1), target.squeeze(-1)),
}
PAIRS_BITS = {"BCE": Flat(nn.BCELoss()), "BCE with logits": Flat(nn.BCEWithLogitsLoss())}
REFUSES = {
    "BCELoss": nn.BCELoss(),
    "BCEWithLogitsLoss": nn.BCEWithLogitsLoss(),
    "CrossEntropyLoss": nn.CrossEntropyLoss(),
    "NLLLoss": nn.NLLLoss(),
}

targets = (
    st.one_of(
        st.lists(st.sampled_from([0.0, 1.0]), min_size=2, max_size=12),
        st.lists(st.sampled_from([1.0, 2.0, 3.0, 4.0, 5.0]), min_size=2, max_size=8),
        st.lists(st.integers(-90, 90).map(lambda n: n / 10), min_size=2, max_size=8),
    )
    .filter(lambda values: len(set(values)) > 1)
    .map(torch.tensor)
)


def against_a_column(target, column):
    """Shapes that broadcast: either the outputs or the targets are one column, the others one row."""
    return (torch.zeros(len(target), 1), target) if column == "output" else (torch.zeros(len(target)), target[:, None])


# -- good arm and broken arm -----------------------------------------------------------------------


@pytest.mark.parametrize("column", ["output", "target"])
@quick
@given(loss=st.sampled_from(sorted(SPREADS)), target=targets)
def test_one_column_against_a_row_is_a_broadcast_under_a_plain_loss(column, loss, target):
    assert does_loss_broadcast(SPREADS[loss], *against_a_column(target, column)) is True


@pytest.mark.parametrize("column", ["output", "target"])
@quick
@given(loss=st.sampled_from(sorted(PAIRS)), target=targets)
def test_the_same_shapes_are_none_under_a_loss_that_pairs_rows(column, loss, target):
    assert does_loss_broadcast(PAIRS[loss], *against_a_column(target, column)) is False


@pytest.mark.parametrize("column", ["output", "target"])
@quick
@given(loss=st.sampled_from(sorted(PAIRS_BITS)), target=targets)
def test_nor_under_a_loss_of_probabilities_that_pairs_rows(column, loss, target):
    bits = (target > target.min()).float()
    assert does_loss_broadcast(PAIRS_BITS[loss], *against_a_column(bits, column)) is False


@pytest.mark.parametrize("loss", sorted(PAIRS))
def test_stars_from_one_to_five_raise_no_alarm(loss):
    for target in itertools.product([1.0, 3.0, 5.0], repeat=3):
        assert does_loss_broadcast(PAIRS[loss], torch.zeros(3, 1), torch.tensor(target)) in (False, None)


def test_a_loss_of_products_is_seen_as_well():
    assert does_loss_broadcast(soft_f1, torch.zeros(4, 1), torch.tensor([0.0, 1, 0, 0])) is True


@pytest.mark.parametrize("loss", sorted(REFUSES))
def test_a_loss_that_refuses_the_shapes_is_left_to_say_so(loss):
    assert does_loss_broadcast(REFUSES[loss], torch.zeros(4, 1), torch.tensor([0.0, 1, 0, 0])) is False


def test_as_many_classes_as_rows_is_no_broadcast():
    for target in itertools.product(range(4), repeat=4):
        assert does_loss_broadcast(nn.CrossEntropyLoss(), torch.zeros(4, 4), torch.tensor(target)) in (False, None)


def test_as_many_columns_as_rows_under_a_plain_loss_is_one():
    assert does_loss_broadcast(nn.MSELoss(), torch.zeros(4, 4), torch.tensor([0.0, 1, 0, 2])) is True


@pytest.mark.parametrize(
    "output, target",
    [
        ((4, 1), (4, 1)),
        ((4,), (4,)),
        ((4, 3), (4, 3)),
        ((4, 3), (4, 1)),
        ((4, 5, 2), (4, 5, 1)),
        ((), (4,)),
        ((4,), ()),
        ((4, 3), (5,)),
        ((4, 3), (2, 3)),
    ],
    ids=str,
)
def test_rows_that_stay_with_their_targets_are_no_broadcast(output, target):
    varied = torch.arange(float(torch.zeros(target).numel())).reshape(target)
    assert does_loss_broadcast(nn.MSELoss(), torch.zeros(output), varied) is False


def test_one_output_repeated_over_several_targets_is_one():
    assert does_loss_broadcast(nn.MSELoss(), torch.zeros(4, 1), torch.arange(12.0).reshape(4, 3)) is True


def test_a_loss_that_ignores_its_targets_is_no_broadcast():
    assert (
        does_loss_broadcast(lambda output, target: output.mean(), torch.zeros(4, 1), torch.tensor([0.0, 1, 0, 0]))
        is False
    )


@pytest.mark.parametrize(
    "output, target",
    [
        (torch.zeros(1, 1), torch.ones(1)),
        (torch.zeros(4, 1), torch.ones(4)),
        (torch.zeros(1, 3), torch.tensor([0.0, 1, 0])),
        (torch.zeros(0, 1), torch.zeros(0)),
    ],
    ids=["one row", "equal targets", "one row of outputs", "no rows"],
)
def test_none_where_this_batch_cannot_tell(output, target):
    assert does_loss_broadcast(nn.MSELoss(), output, target) is None


@pytest.mark.parametrize(
    "output, target",
    [((torch.zeros(4, 1),), torch.ones(4)), (torch.zeros(4, 1), [1, 2, 3, 4]), (None, None)],
    ids=["tuple of outputs", "list of targets", "nothing"],
)
def test_what_is_no_pair_of_tensors_is_no_broadcast(output, target):
    assert does_loss_broadcast(nn.MSELoss(), output, target) is False


# -- nothing is disturbed --------------------------------------------------------------------------


class Counting(nn.Module):
    """A loss with a state, which draws random numbers."""

    def __init__(self):
        super().__init__()
        self.calls = 0
        self.register_buffer("running", torch.zeros(1))

    def forward(self, output, target):
        self.calls += 1
        self.running += 1
        return ((output - target) ** 2).mean() + torch.rand(1)


def test_loss_targets_and_random_numbers_are_left_alone():
    loss, output, target = Counting(), torch.zeros(4, 1, requires_grad=True), torch.tensor([0.0, 1, 0, 2])
    state, before = torch.get_rng_state(), target.clone()
    does_loss_broadcast(loss, output, target)
    assert loss.calls == 0 and float(loss.running) == 0
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(target, before) and output.grad is None and output.grad_fn is None


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64], ids=str)
def test_other_precisions(dtype):
    output, target = torch.zeros(4, 1, dtype=dtype), torch.tensor([0.0, 1, 0, 2], dtype=dtype)
    if dtype == torch.float16 and torch.__version__.startswith("1."):
        pytest.skip("half precision on a CPU came later")
    assert does_loss_broadcast(nn.MSELoss(), output, target) is True
    assert does_loss_broadcast(Flat(nn.MSELoss()), output, target) is False


def test_integer_targets_under_a_loss_that_takes_them():
    assert does_loss_broadcast(squared, torch.zeros(4, 1), torch.tensor([0, 1, 0, 2])) is True
