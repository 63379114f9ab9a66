"""Which output a loss compares with which target, found from the loss alone; next to each find a loss without it."""

import pytest
import torch
from torch.nn import functional as F

from fastai_hf_callback import NextTokenLoss
from fastai_hf_callback.diagnosis.probes.pairing.loss_pairing import probe_target_use, probe_token_loss
from fastai_hf_callback.diagnosis.probes.pairing.token_signal import measure_token_signal
from fastai_hf_callback.diagnosis.probes.pairing.token_targets import (
    compare_with_ids,
    count_on_padding,
    find_left_out,
    probe_causality,
)
from fastai_hf_callback.diagnosis.probes.synthetic_outputs import roll_targets
from fastai_hf_callback.results.pairing import Pairing

ROWS, WIDTH, CLASSES = 8, 12, 7


def as_it_is(logits, target, **settings):
    return F.cross_entropy(logits.reshape(-1, CLASSES), target.reshape(-1), **settings)


def two_ahead(logits, target):
    return as_it_is(logits[:, :-2], target[:, 2:])


def turned(logits, target):
    return -as_it_is(logits, target)


def weighted(logits, target):
    return as_it_is(logits, target, weight=torch.linspace(0.5, 3, CLASSES))


def drawn(seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(ROWS, WIDTH, CLASSES, generator=generator)
    return logits, torch.randint(CLASSES, (ROWS, WIDTH), generator=generator)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "loss, ahead",
    [(as_it_is, 0), (weighted, 0), (turned, 0), (NextTokenLoss(), 1), (two_ahead, 2)],
    ids=["as it is", "weighted", "sign turned", "next", "two ahead"],
)
def test_how_far_a_loss_looks_ahead(loss, ahead, seed):
    found = probe_token_loss(loss, *drawn(seed))
    assert found.ahead == ahead
    assert found.counts[:, ahead:].all() and not found.counts[:, :ahead].any()


@pytest.mark.parametrize(
    "loss",
    [lambda o, t: o.mean(), lambda o, t: F.cross_entropy(o, t[:, 0]), lambda o, t: o.detach().sum()],
    ids=["of no target", "of a text", "detached"],
)
def test_of_another_loss_nothing_is_said(loss):
    assert probe_token_loss(loss, *drawn()) is None


def test_which_targets_count_and_which_value_never_does():
    logits, target = drawn()
    target[:, -3:] = -100
    found = probe_token_loss(as_it_is, logits, target)
    assert torch.equal(found.counts, target >= 0) and find_left_out(found) == -100
    of_class = probe_token_loss(lambda o, t: as_it_is(o, t, ignore_index=2), *drawn())
    assert find_left_out(of_class) == 2
    assert find_left_out(probe_token_loss(NextTokenLoss(), *drawn())) is None  # the first ones are out of its reach


@pytest.mark.parametrize("shift", [-1, 0, 1])
@pytest.mark.parametrize("loss, ahead", [(as_it_is, 0), (NextTokenLoss(), 1)], ids=["as it is", "next"])
def test_targets_that_are_the_ids_are_known_however_they_are_shifted(loss, ahead, shift):
    logits, ids = drawn()
    found, pairing = probe_token_loss(loss, logits, roll_targets(ids, shift)), Pairing(ahead=ahead)
    compare_with_ids(pairing, found, ids)
    assert (pairing.shift, pairing.distance) == (shift, ahead + shift)
    other = Pairing(ahead=ahead)
    compare_with_ids(other, found, ids.flip(1))
    assert other.shift is other.distance is None


@pytest.mark.parametrize("padded", [-100, 0])
def test_padding_counts_where_its_targets_do_but_for_the_first(padded):
    logits, target = drawn()
    is_pad = torch.arange(WIDTH)[None] >= torch.arange(4, 4 + ROWS)[:, None]
    pairing = Pairing()
    count_on_padding(pairing, probe_token_loss(as_it_is, logits, target.masked_fill(is_pad, padded)), is_pad)
    inside = int(is_pad.sum()) - int(is_pad.any(1).sum())
    assert pairing.on_padding == (0 if padded < 0 else inside)


def test_whether_targets_are_read_and_whether_the_rows_are():
    logits, target = torch.randn(6, 6), torch.zeros(6).long()

    def of(loss, output=logits):
        pairing = Pairing()
        probe_target_use(pairing, loss, output, (target,))
        return pairing.reads_targets, pairing.reads_rows, pairing.has_own_targets

    assert of(lambda o, t: F.cross_entropy(o, t)) == (True, None, False)
    begins_at_zero = torch.zeros(6, 6)  # a last layer's, whose loss is the same whatever the targets
    assert of(lambda o, t: F.cross_entropy(o, t), begins_at_zero)[0] is True
    assert of(lambda o, t: F.cross_entropy(o, torch.arange(6))) == (False, True, True)
    assert of(lambda o, t: -(o[0] * o[1]).sum(), (logits, logits + 1)) == (False, True, True)
    assert of(lambda o, t: o.pow(2).mean()) == (False, False, False)
    assert of(lambda o, t: o["loss"], {"loss": torch.tensor(1.0), "logits": logits}) == (False, False, True)


def test_a_model_that_reads_what_comes_is_not_causal():
    ids = torch.randint(5, 30, (4, 10))
    table = torch.nn.functional.one_hot(ids.clone(), 30)
    assert probe_causality(lambda ids: F.one_hot(ids, 30).float().cumsum(1), ids) is True
    assert probe_causality(lambda ids: F.one_hot(ids, 30).float().flip(1).cumsum(1).flip(1), ids) is False
    assert probe_causality(lambda ids: F.one_hot(ids, 30).float(), ids[:, :2]) is None
    assert torch.equal(table, F.one_hot(ids, 30))  # the ids are not changed


def test_tokens_that_tell_of_their_targets_and_tokens_that_do_not():
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(5, 25, (24, 20), generator=generator)
    told, chance = ids % 3, torch.randint(3, ids.shape, generator=generator)
    by_neighbour = roll_targets(ids, 1, left_out=5) % 3
    assert measure_token_signal([(ids, told)], None) > 10 and measure_token_signal([(ids, by_neighbour)], None) > 10
    assert measure_token_signal([(ids, chance)], None) < 3
    assert measure_token_signal([(ids[:2], told[:2])], None) is None
    assert measure_token_signal([(ids, ids)], 0) < 3  # that a target is the token itself says nothing
