"""Signals in batches of every kind; no fastai, no model but tensors."""

import pytest
import torch
from torch import nn

from fastai_hf_callback.diagnosis.probes.batches import Batch
from fastai_hf_callback.diagnosis.substitution.kinds import choose_signal
from fastai_hf_callback.diagnosis.substitution.layout import draw_inputs, find_layout, flatten
from fastai_hf_callback.diagnosis.substitution.runs import Compared, compute_gap, compute_score
from fastai_hf_callback.diagnosis.substitution.signals import CannotPlantError

ROWS, LENGTH, VOCAB = 16, 12, 48
NAMES = {"input_names": ("input_ids", "attention_mask")}


def ids(seed=0, rows=ROWS):
    made = torch.randint(5, VOCAB, (rows, LENGTH), generator=torch.Generator().manual_seed(seed))
    made[:, 0], made[:, -1] = 2, 3
    return made


def masked_words():
    words = ids()
    asked = torch.zeros_like(words, dtype=torch.bool)
    asked[:, 2::4] = True
    return torch.where(asked, torch.full_like(words, 4), words), torch.where(asked, words, torch.full_like(words, -100))


class Model(nn.Module):
    def __init__(self, names=None, embeddings=VOCAB):
        super().__init__()
        self.words = nn.Embedding(embeddings, 4)
        if names:
            self.input_names = names


def texts(target, output, names=("input_ids", "attention_mask")):
    words = ids()
    return Batch((words, torch.ones_like(words)), target), output, names


CLASSES = torch.arange(ROWS) % 3
MASKED, BLANKS = masked_words()
KINDS = {
    "classes": texts(CLASSES, torch.randn(ROWS, 3)),
    "classes in a column": texts(CLASSES[:, None], torch.randn(ROWS, 3)),
    "labels": texts((torch.randn(ROWS, 4) > 0).float(), torch.randn(ROWS, 4)),
    "probabilities": texts(torch.softmax(torch.randn(ROWS, 3), -1), torch.randn(ROWS, 3)),
    "numbers": texts(torch.randn(ROWS, 1), torch.randn(ROWS, 1)),
    "a label a token": texts(ids() % 3, torch.randn(ROWS, LENGTH, 3)),
    "flattened labels a token": texts((ids() % 3).reshape(-1), torch.randn(ROWS * LENGTH, 3)),
    "the next token": texts(ids(), torch.randn(ROWS, LENGTH, VOCAB)),
    "masked tokens": (
        Batch((MASKED, torch.ones_like(MASKED)), BLANKS),
        torch.randn(ROWS, LENGTH, VOCAB),
        ("input_ids", "attention_mask"),
    ),
    "a text": texts(ids(1)[:, :7], torch.randn(ROWS, 7, VOCAB)),
    "spans": texts(torch.tensor([[2, 4]] * ROWS), torch.randn(ROWS, 2, LENGTH)),
    "choices": (Batch((torch.stack([ids(k) for k in range(3)], 1),), CLASSES), torch.randn(ROWS, 3), ("input_ids",)),
    "pairs of texts": (Batch((ids(0), ids(1)), torch.tensor(1)), (torch.randn(ROWS, 4), torch.randn(ROWS, 4)), None),
    "pairs with targets": (Batch((ids(0), ids(1)), CLASSES.float().clamp(max=1)), torch.randn(ROWS), None),
    "pictures": (Batch((torch.randn(ROWS, 3, 8, 8),), CLASSES), torch.randn(ROWS, 3), None),
    "a class a pixel": (
        Batch((torch.randn(ROWS, 3, 8, 8),), torch.randint(0, 3, (ROWS, 8, 8))),
        torch.randn(ROWS, 3, 4, 4),
        None,
    ),
    "sound": (Batch((torch.randn(ROWS, 400),), CLASSES), torch.randn(ROWS, 3), None),
    "a table": (Batch((torch.randn(ROWS, 10),), CLASSES), torch.randn(ROWS, 3), None),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def signal_of(kind):
    batch, output, names = KINDS[kind]
    model = Model(names)
    layout = find_layout([batch], model, {}, None)
    return choose_signal(layout, [batch], output, model), batch, output


@every_kind
def test_a_planted_batch_has_the_form_of_the_learners_own_which_stays_what_it_was(kind):
    signal, batch, _ = signal_of(kind)
    before = [t.clone() for t in flatten(batch)]
    planted = signal.plant(batch, torch.Generator().manual_seed(0))
    assert all(torch.equal(a, b) for a, b in zip(before, flatten(batch)))
    for own, made, other in zip(before, flatten(planted.batch), flatten(planted.other)):
        assert (made.shape, made.dtype) == (own.shape, own.dtype) == (other.shape, other.dtype)
    assert signal.description


@every_kind
def test_outputs_by_chance_do_not_tell_the_sides_apart_and_ideal_ones_do(kind):
    """Ideal ones are found by descending along the known-good loss, on the outputs themselves."""
    signal, batch, output = signal_of(kind)
    planted = signal.plant(batch, torch.Generator().manual_seed(0))

    def compare(out):
        return [Compared(signal.costs(out, planted), signal.costs(out, planted, other=True), planted.sides)]

    leaves = [t.clone().requires_grad_() for t in (output if isinstance(output, tuple) else (output,))]
    given = tuple(leaves) if isinstance(output, tuple) else leaves[0]
    assert compute_score(compare(output)) < 0.9
    optimizer = torch.optim.Adam(leaves, lr=0.1)
    for _ in range(150):
        optimizer.zero_grad()
        signal.compute_loss(given, planted).backward()
        optimizer.step()
    assert compute_score(compare(given)) > 0.95 and compute_gap(compare(given)) > 0.3


@every_kind
def test_random_inputs_of_the_same_form_take_the_signal_too(kind):
    signal, batch, _ = signal_of(kind)
    drawn = draw_inputs(signal.layout, batch, torch.Generator().manual_seed(0))
    planted = signal.plant(drawn, torch.Generator().manual_seed(0))
    assert [t.shape for t in flatten(planted.batch)] == [t.shape for t in flatten(batch)]


@pytest.mark.parametrize("rows", [1, 2, 7, 16])
def test_both_sides_are_equally_frequent(rows):
    signal, batch, _ = signal_of("classes")
    few = Batch(tuple(t[:rows] for t in batch.xb), batch.yb[:rows])
    sides = signal.plant(few, torch.Generator().manual_seed(0)).sides
    assert abs(int(sides.sum()) - rows / 2) <= 0.5


@pytest.mark.parametrize(
    "batch, said",
    [
        (Batch((torch.zeros(ROWS),), CLASSES), "neither token ids, nor pixels"),
        (Batch((ids(), torch.ones_like(ids())), ()), "no targets"),
    ],
    ids=["no inputs", "no targets"],
)
def test_where_nothing_can_be_planted_it_says_so(batch, said):
    model = Model()
    with pytest.raises(CannotPlantError, match=said):
        choose_signal(find_layout([batch], model, {}, None), [batch], None, model)


def test_a_score_is_blind_to_a_preference_and_a_gap_to_nothing():
    sides = torch.tensor([True, False] * 8)
    right = torch.where(sides, torch.tensor(0.6), torch.tensor(0.2))  # both at the same side of the threshold
    wrong = torch.where(sides, torch.tensor(0.5), torch.tensor(0.7))
    assert compute_score([Compared(right, wrong, sides)]) == 1.0
    assert compute_score([Compared(right, right, sides)]) == 0.5 and compute_gap([Compared(right, right, sides)]) == 0.0
    assert compute_score([Compared(right, wrong * float("nan"), sides)]) == 0.5
