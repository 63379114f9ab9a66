"""What a loss of the user's own takes and predicts, and how it is shown, without a fastai."""

import copy
import pickle
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from fastai_hf_callback.model.loss.own_loss import OwnLoss, list_losses, wrap_own_loss
from fastai_hf_callback.model.loss.traits import LossTraits, move_loss, probe_loss_traits
from tests.own_losses import (
    LOSSES_BY_TASK,
    FocalLoss,
    build_class_losses,
    build_number_losses,
    my_cross_entropy,
    one_against_rest,
    soft_cross_entropy,
)

CPU = torch.device("cpu")
CLASSES, LABELS, NUMBER = "single_label_classification", "multi_label_classification", "regression"
TAKES_SHARES = "label_smoothing" in nn.CrossEntropyLoss.__init__.__code__.co_varnames  # and so float targets
WORDS, ANSWERS = "token-classification", "question-answering"


class SoftmaxLoss:
    """A task's own loss, as fastai 2 has it."""

    def activation(self, outputs):
        return outputs.softmax(-1)

    def decodes(self, probabilities):
        return probabilities.argmax(-1)


def wrap(loss, task=CLASSES, n_outputs=3):
    return wrap_own_loss(loss, SoftmaxLoss(), task, n_outputs, CPU)


def batch(task, rows=6, width=4, n=3, seed=0):
    draw = torch.Generator().manual_seed(seed)
    if task == WORDS:
        targets = torch.randint(0, n, (rows, width), generator=draw)
        targets[:, 0] = -100
        return torch.randn(rows, width, n, generator=draw), targets
    if task == NUMBER:
        return torch.randn(rows, 1, generator=draw), torch.randn(rows, generator=draw)
    return torch.randn(rows, n, generator=draw), torch.randint(0, n, (rows,), generator=draw)


# -- what it takes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", build_class_losses())
def test_a_loss_of_classes_takes_rows_as_they_are_and_words_one_by_one(name):
    loss = build_class_losses()[name]
    assert probe_loss_traits(loss, CLASSES, 3) == LossTraits("given", None)
    assert probe_loss_traits(loss, WORDS, 3) == LossTraits("positions", None)
    assert probe_loss_traits(build_class_losses(8)[name], WORDS, 8) == LossTraits("positions", None)


@pytest.mark.parametrize("name", build_number_losses())
def test_a_loss_of_numbers_would_compare_every_row_with_every_target(name):
    layout = "given" if name == "own function" else "aligned"
    assert probe_loss_traits(build_number_losses()[name], NUMBER, 1) == LossTraits(layout, None)
    assert probe_loss_traits(build_number_losses()[name], NUMBER, 3) == LossTraits("given", None)


def test_one_that_takes_whole_rows_of_words_gets_them():
    def of_rows(logits, targets):
        return functional.cross_entropy(logits.transpose(1, 2), targets)

    assert probe_loss_traits(of_rows, WORDS, 3) == LossTraits("given", None)


def test_answers_are_two_positions():
    assert probe_loss_traits(nn.CrossEntropyLoss(), ANSWERS, 2) == LossTraits("positions", None)


@pytest.mark.parametrize("task", (CLASSES, LABELS, NUMBER, WORDS, ANSWERS))
def test_a_loss_that_cannot_be_called_is_taken_as_it_is(task):
    def refusing(outputs, targets):
        raise ValueError("not these")

    assert probe_loss_traits(refusing, task, 3) == LossTraits("given", None)


def test_probing_changes_neither_the_loss_nor_the_random_states():
    class Counting(FocalLoss):
        calls = 0

        def forward(self, logits, targets):
            self.calls += 1
            return super().forward(nn.functional.dropout(logits), targets)

    loss, state = Counting(), torch.random.get_rng_state()
    probe_loss_traits(loss, CLASSES, 3)
    assert loss.calls == 0 and torch.equal(torch.random.get_rng_state(), state)


# -- what its outputs stand for ----------------------------------------------------------------------------


def of_logs(outputs, targets):
    return functional.mse_loss(outputs.squeeze(-1), targets.log())


def ranking(outputs, targets):
    gaps = outputs.reshape(-1, 1) - outputs.reshape(1, -1)
    return functional.relu(0.5 - gaps * (targets.reshape(-1, 1) - targets.reshape(1, -1)).sign()).mean()


def pinball(outputs, targets):
    errors = targets - outputs.reshape(targets.shape)
    return torch.max(0.9 * errors, -0.1 * errors).mean()


@pytest.mark.parametrize(
    "task, loss, link",
    [
        (LABELS, nn.BCELoss(), "identity"),
        (
            LABELS,
            lambda p, t: -(t * p.clamp(1e-7, 1).log() + (1 - t) * (1 - p).clamp(1e-7, 1).log()).mean(),
            "identity",
        ),
        (LABELS, lambda o, t: functional.binary_cross_entropy(o.sigmoid(), t), None),
        (CLASSES, lambda p, t: functional.nll_loss(p.log(), t), "identity"),
        (LABELS, soft_cross_entropy, "softmax"),
        (LABELS, TAKES_SHARES and nn.CrossEntropyLoss(weight=torch.linspace(1, 2, 3)), TAKES_SHARES and "softmax"),
        (LABELS, nn.MSELoss(), "identity"),
        (LABELS, lambda o, t: (o.sigmoid() - t).square().mean(), None),
        (LABELS, nn.MultiLabelSoftMarginLoss(), None),
        (CLASSES, one_against_rest, "sigmoid"),
        (CLASSES, nn.MultiMarginLoss(), None),
        (WORDS, one_against_rest, "sigmoid"),
        (WORDS, nn.CrossEntropyLoss(), None),
        (CLASSES, nn.NLLLoss(), None),  # of logarithms: the softmax of those is what they are of
        (NUMBER, nn.BCEWithLogitsLoss(), "sigmoid"),
        (NUMBER, nn.BCELoss(), None),
        (NUMBER, nn.PoissonNLLLoss(), "exp"),
        (NUMBER, nn.PoissonNLLLoss(log_input=False), None),
        (NUMBER, of_logs, "exp"),
        (NUMBER, ranking, None),
        (NUMBER, pinball, None),
    ],
)
def test_what_the_outputs_stand_for_is_measured(task, loss, link):
    if not loss:
        pytest.skip("this torch's takes one class a row")
    assert probe_loss_traits(loss, task, 1 if task == NUMBER else 3).link == link


@given(st.integers(0, 2**16), st.integers(2, 9), st.integers(1, 9), st.sampled_from(sorted(build_class_losses(2))))
def test_probabilities_are_the_tasks_whatever_the_loss(seed, n_classes, rows, name):
    logits = 5 * torch.randn(rows, n_classes, generator=torch.Generator().manual_seed(seed))
    wrapped = wrap(build_class_losses(n_classes)[name], n_outputs=n_classes)
    assert torch.equal(wrapped.activation(logits), logits.softmax(-1))
    assert torch.equal(wrapped.decodes(wrapped.activation(logits)), logits.argmax(-1))


def test_labels_that_share_one_probability_are_decoded_next_to_the_best():
    shared = torch.tensor([[0.46, 0.44, 0.1], [0.9, 0.05, 0.05]])
    assert wrap(soft_cross_entropy, LABELS).decodes(shared).tolist() == [[True, True, False], [True, False, False]]
    assert wrap(nn.BCELoss(), LABELS).decodes(shared).tolist() == [0, 0]  # the task's own, here an argmax


def test_an_activation_of_the_losss_own_is_kept():
    class WithActivation(FocalLoss):
        def activation(self, outputs):
            return outputs * 2

    assert torch.equal(wrap(WithActivation()).activation(torch.ones(1, 3)), torch.full((1, 3), 2.0))


# -- computed ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ("weighted", "function", "partial", "own function", "own module"))
def test_words_count_and_nothing_else_does(name):
    logits, targets = batch(WORDS)
    wrapped, word = wrap(build_class_losses()[name], WORDS), targets != -100
    expected = wrapped.given_loss(logits[word], targets[word])
    assert torch.equal(wrapped(logits, targets), expected)
    logits[:, 0] += 100
    assert torch.equal(wrapped(logits, targets), expected)


def test_a_batch_without_words_trains_nothing_and_ruins_nothing():
    logits, targets = batch(WORDS)
    logits.requires_grad_()
    loss = wrap(nn.CrossEntropyLoss(), WORDS)(logits, torch.full_like(targets, -100))
    loss.backward()
    assert loss.item() == 0 and logits.grad.abs().max() == 0
    if hasattr(nn, "HuberLoss"):  # torch 1.4 gives 0 by itself
        assert torch.isnan(nn.CrossEntropyLoss()(logits.flatten(0, 1), torch.full((24,), -100)))


@pytest.mark.parametrize("task", LOSSES_BY_TASK)
def test_a_loss_for_each_row_is_there_whatever_the_loss(task):
    if task == LABELS:
        outputs, targets = batch(CLASSES)[0], torch.eye(3).repeat(2, 1)
    else:
        outputs, targets = batch(task)
    for name, loss in LOSSES_BY_TASK[task](3).items():
        wrapped = wrap(loss, task, 1 if task == NUMBER else 3)
        whole, before = wrapped(outputs, targets), wrapped.reduction
        wrapped.reduction = "none"
        rows = wrapped(outputs, targets)
        wrapped.reduction = before
        assert rows.numel() % len(outputs) == 0 and rows.numel() > 1, name
        assert torch.equal(wrapped(outputs, targets), whole)


def test_losses_of_words_stand_where_the_words_stand():
    logits, targets = batch(WORDS)
    wrapped = wrap(functional.cross_entropy, WORDS)
    wrapped.reduction = "none"
    expected = functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
    assert torch.allclose(wrapped(logits, targets), expected)


def test_two_targets_go_to_the_loss_as_they_are():
    def of_three(outputs, one, other):
        return outputs.sum() + one.sum() + other.sum()

    assert float(wrap(of_three)(torch.ones(2, 3), torch.ones(2), torch.ones(2))) == 10


# -- shown -------------------------------------------------------------------------------------------------


def test_it_is_shown_as_the_loss_that_was_given():
    mine = nn.CrossEntropyLoss(weight=torch.ones(3))
    wrapped = wrap(mine)
    assert isinstance(wrapped, nn.CrossEntropyLoss) and isinstance(wrapped, OwnLoss)
    assert repr(wrapped) == repr(mine) and wrapped.weight is mine.weight
    wrapped.ignore_index = 1
    assert mine.ignore_index == 1 and not hasattr(wrapped, "no_such_thing")
    assert wrap(my_cross_entropy).__name__ == "my_cross_entropy" and not isinstance(wrap(my_cross_entropy), nn.Module)
    assert list_losses(wrapped) == [wrapped, mine] and list_losses(mine) == [mine]


@pytest.mark.parametrize("loss", (FocalLoss(gamma=3.0), my_cross_entropy, partial(functional.cross_entropy)))
def test_a_copy_and_a_pickle_say_the_same(loss):
    wrapped, (logits, targets) = wrap(loss, WORDS), batch(WORDS)
    for made in (copy.deepcopy(wrapped), copy.copy(wrapped), pickle.loads(pickle.dumps(wrapped))):
        assert made.traits == wrapped.traits and torch.equal(made(logits, targets), wrapped(logits, targets))
    assert copy.deepcopy(wrapped).given_loss is not loss or loss is my_cross_entropy


def test_what_is_no_loss_is_left_to_raise_its_own_error():
    assert wrap(nn.CrossEntropyLoss) is None and wrap("cross_entropy") is None


def test_weights_go_where_the_outputs_are():
    if not hasattr(torch, "_subclasses") or not torch.empty(0, device="meta").is_meta:
        pytest.skip("no second device")
    meta, weights = torch.device("meta"), torch.ones(3)
    moved = move_loss(partial(functional.cross_entropy, weight=weights, reduction="sum"), meta)
    assert moved.keywords["weight"].device == meta and weights.device == CPU and moved.keywords["reduction"] == "sum"
    module = nn.CrossEntropyLoss(weight=weights)
    assert move_loss(module, CPU) is module and move_loss(module, meta).weight.device == meta
    assert move_loss(my_cross_entropy, meta) is my_cross_entropy
