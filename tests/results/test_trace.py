"""Trace: what a run did, in the order of time; digest: two tensors are the same exactly when theirs are."""

import copy
import json
from collections.abc import Sequence
from dataclasses import FrozenInstanceError

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fastai_hf_callback.results.trace import Epoch, Step, Trace, digest
from tests.tiny_models import make_trace

quick = settings(deadline=None, max_examples=60)
HALVES = [torch.float16, torch.bfloat16]


# -- digest ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.int64, torch.uint8, torch.bool, *HALVES], ids=str
)
def test_equal_tensors_have_equal_digests_and_others_do_not(dtype):
    tensor, other = torch.tensor([0, 1, 1]).to(dtype), torch.tensor([1, 1, 1]).to(dtype)
    assert digest([tensor]) == digest([tensor.clone()]) != digest([other])
    assert len(digest([tensor])) == 16 and int(digest([tensor]), 16) >= 0


def test_a_sequence_of_any_kind_counts_with_what_it_holds():
    class Listed(Sequence):
        items = [1.5, "text"]  # an attribute, as fastai 2's L has

        def __len__(self):
            return 2

        def __getitem__(self, place):
            return self.items[place]

    assert digest(Listed()) == digest([1.5, "text"]) != digest([1.5, "other"])


@quick
@given(st.lists(st.floats(width=32), min_size=1, max_size=6), st.data())
def test_the_smallest_change_of_one_number_shows(values, data):
    changed = list(values)
    place = data.draw(st.integers(0, len(values) - 1))
    changed[place] = data.draw(st.floats(width=32))
    a, b = (np.array(v, dtype=np.float32) for v in (values, changed))
    same = a.tobytes() == b.tobytes()
    assert (digest([torch.from_numpy(a)]) == digest([torch.from_numpy(b)])) is same


def test_shape_dtype_order_and_number_of_tensors_count():
    zeros = torch.zeros(4)
    alike = [
        [zeros],
        [zeros.view(2, 2)],
        [zeros.view(4, 1)],
        [zeros.double()],
        [zeros.int()],
        [zeros[:2], zeros[2:]],
        [zeros, zeros],
        [zeros[:0]],
        [],
        [torch.zeros(())],
    ]
    assert len({digest(tensors) for tensors in alike}) == len(alike)
    one, two = torch.ones(2), torch.zeros(2)
    assert digest([one, two]) != digest([two, one])


@pytest.mark.parametrize(
    "one, other",
    [
        ([1, 23], [12, 3]),
        ([[1], 2], [1, [2]]),
        ([1, 2], [[1, 2]]),
        ({"a": 1, "b": 2}, {"a": 2, "b": 1}),
        ({"a": 12}, {"a1": 2}),
        (1, 1.0),
        (1, True),
        ("1", 1),
        (None, "None"),
        (0.0, -0.0),
        ((), None),
        ([], [None]),
        (1.5, np.float64(2.5)),
        (torch.zeros(2), [torch.zeros(()), torch.zeros(())]),
        ({"loss": torch.zeros(1)}, {"loss": torch.ones(1)}),
        (np.zeros(2), np.zeros(2, dtype=np.float32)),
    ],
)
def test_what_a_fit_returned_is_told_apart(one, other):
    assert digest(one) == digest(copy.deepcopy(one)) != digest(other)


def test_an_array_of_objects_counts_by_what_it_holds():
    one, again, other = (digest(np.array([float(text), text], dtype=object)) for text in ("1.5", "1.5", "2.5"))
    assert one == again != other


def test_what_has_no_value_to_compare_counts_as_its_type():
    assert digest(object()) == digest(object()) != digest(Trace("callback"))


def test_zero_and_minus_zero_differ():
    assert digest([torch.tensor([0.0])]) != digest([torch.tensor([-0.0])])


def test_layout_and_graph_do_not_count():
    matrix = torch.arange(6.0).reshape(2, 3)
    assert digest([matrix.t()]) == digest([matrix.t().contiguous()])
    assert digest([torch.nn.Parameter(matrix)]) == digest([matrix])


def test_the_tensor_is_left_as_it_was():
    tensor = torch.nn.Parameter(torch.ones(2, 2))
    digest([tensor])
    assert tensor.requires_grad and tensor.grad is None and torch.equal(tensor.data, torch.ones(2, 2))


# -- observations ----------------------------------------------------------------------------------


def test_observations_come_in_the_order_of_time():
    seen = [(*o[:3], o.quantity) for o in make_trace().observations()]
    step = ["loss", "gradient norm", "learning rate of group 0", "learning rate of group 1"]
    epoch = ["valid_loss", "accuracy"]
    assert seen == [
        *((-1, -1, -1, q) for q in epoch),
        *((0, 0, 0, q) for q in step),
        *((0, 0, 1, q) for q in step),
        *((0, 0, -1, q) for q in epoch),
        *((0, 1, 0, q) for q in step),
        *((0, 1, 1, q) for q in step),
        *((0, 1, -1, q) for q in epoch),
        *((-1, -1, -1, q) for q in ("weight weight", "predictions", "what fit returned")),
    ]


def test_several_fits_stay_in_order_and_epochs_without_steps_too():
    trace = Trace(
        "callback",
        steps=[Step(0, 0, 0, 1.0, 1.0, ()), Step(1, 0, 0, 1.0, 1.0, ())],
        epochs=[Epoch(0, 0, 0.5, {}), Epoch(1, 0, 0.5, {}), Epoch(1, 1, 0.5, {})],
    )
    assert [o[:3] for o in trace.observations() if o.fit >= 0] == [
        (0, 0, 0),
        (0, 0, 0),
        (0, 0, -1),
        (1, 0, 0),
        (1, 0, 0),
        (1, 0, -1),
        (1, 1, -1),
    ]


def test_an_empty_trace_has_its_end_and_nothing_else():
    assert [o.quantity for o in Trace("callback").observations()] == ["predictions", "what fit returned"]


def test_looking_changes_nothing():
    trace, twin = make_trace(), make_trace()
    assert list(trace.observations()) == list(trace.observations())
    assert trace == twin


def test_what_was_recorded_cannot_be_changed_by_accident():
    with pytest.raises(FrozenInstanceError):
        make_trace().steps[0].loss = 0.0


def test_to_dict_holds_everything_in_plain_types():
    plain = make_trace(base_rates={"accuracy": 0.5}).to_dict()
    assert plain["steps"][0] == {"fit": 0, "epoch": 0, "step": 0, "loss": 0.9, "grad_norm": 1.0, "lrs": (1e-3, 1e-4)}
    assert plain["before"]["metrics"] == {"accuracy": 0.5} and plain["base_rates"] == {"accuracy": 0.5}
    assert json.loads(json.dumps(plain))["arm"] == "callback"
