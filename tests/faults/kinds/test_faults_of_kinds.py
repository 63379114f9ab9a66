"""The faults that each other kind of learner can have, next to the healthy learner that they were made of."""

import warnings
from typing import Any, Callable, NamedTuple, Tuple

import pytest
import torch
from torch.nn import functional as F

from fastai_hf_callback import diagnose, explain
from tests.installed_stack import FASTAI_1

if FASTAI_1:
    pytest.skip("of fastai 2", allow_module_level=True)

from fastai.losses import CrossEntropyLossFlat
from fastai.metrics import accuracy

from fastai_hf_callback import HFModel, NextTokenLoss, WordAccuracy
from fastai_hf_callback.utils.rng import seed_everything
from tests.faults.kinds.language_models import causal, count_on, hide_padding, two_sets
from tests.faults.kinds.learners import make_learner, make_loaders
from tests.faults.kinds.runs import make_runs
from tests.faults.kinds.sentences import TwoTowers, contrast, draw_pairs, hits
from tests.faults.kinds.sequence_to_sequence import draw, encode
from tests.faults.kinds.texts import PAD, VOCAB, bare, draw_words, frame, pad_rows, pad_with_mask
from tests.faults.stacks import stack

SPEC = {
    "bs": 16, "wd": 0.01, "rows": 96, "valid_rows": 32, "lengths": "varied", "begins": True, "architecture": "gpt2",
    "lr": 3e-3, "schedule": "fit", "order": "kept", "pieces": False,
}  # fmt: skip
INPUTS = ("input_ids", "attention_mask")


def language_model(loss: Any, metric: Any, shifted: bool = False, model: Any = None) -> Any:
    def rows(n: int) -> Any:
        ids, mask = pad_with_mask(count_on(n, SPEC))
        targets = hide_padding(ids, mask)
        return list(zip(ids[:, :-1], mask[:, :-1], targets[:, 1:]) if shifted else zip(ids, mask, targets))

    dls = make_loaders(SPEC, *two_sets(SPEC, rows), n_inp=2)
    return make_learner(SPEC, dls, causal("gpt2") if model is None else model, loss, [metric], inputs=INPUTS)


def translation(names: Any, last: Callable[..., Any]) -> Any:
    """`last` makes what comes behind ids and mask, and the target, of ids and labels."""
    spec = {**SPEC, "architecture": "bart", "lengths": "varied"}

    def rows(n: int) -> Any:
        ids, mask, labels = encode(draw(n, spec))
        return list(zip(ids, mask, *last(ids, labels)))

    dls = make_loaders(SPEC, *two_sets(SPEC, rows), n_inp=len(names))
    model = bare("bart", "ConditionalGeneration")
    return make_learner(SPEC, dls, model, CrossEntropyLossFlat(), [WordAccuracy()], inputs=names, element="logits")


def shift(labels: Any, by: int) -> Any:
    ids = labels.masked_fill(labels == -100, PAD)
    return torch.cat([torch.full((len(ids), 1), 3), ids[:, :-1]], 1) if by else ids


def tags(padding: int, metric: Any, loss: Any = None) -> Any:
    def rows(n: int) -> Any:
        words = [frame(draw_words(int(length))) for length in torch.randint(4, 16, (n,))]
        ids, mask = pad_with_mask(words)
        return list(zip(ids, mask, pad_rows([(row % 3 == 0).long() + 1 for row in words], pad=padding)))

    dls = make_loaders(SPEC, *two_sets(SPEC, rows), n_inp=2)
    model = bare("bert", "TokenClassification", 3)
    return make_learner(SPEC, dls, model, loss or CrossEntropyLossFlat(), [metric], inputs=INPUTS)


def towers(loss: Any) -> Any:
    def rows(n: int) -> Any:
        return list(zip(*draw_pairs(n, SPEC, torch.ones(n)), torch.zeros(n).long()))

    dls = make_loaders(SPEC, *two_sets(SPEC, rows), n_inp=4)
    return make_learner(
        SPEC, dls, TwoTowers("bert", "all"), loss, [hits], inputs=("ids", "mask", "other_ids", "other_mask")
    )


def flat_accuracy(outputs: Any, targets: Any) -> Any:
    return (outputs.argmax(-1) == targets).float().mean()


def without_padding(outputs: Any, targets: Any) -> Any:
    return flat_accuracy(outputs[targets != 0], targets[targets != 0])


def spread_alone(similarities: Any, _: Any) -> Any:
    """Forgets its targets, and has none of its own."""
    return -similarities.std()


def own_rows(similarities: Any, targets: Any) -> Any:
    return F.cross_entropy(similarities, targets)


class Arms(NamedTuple):
    good: Callable[[], Any]
    broken: Callable[[], Any]
    cause: str
    says: Tuple[str, ...] = ()


ARMS = {
    "a loss that does not shift": Arms(
        lambda: language_model(NextTokenLoss(), WordAccuracy(ahead=1)),
        lambda: language_model(CrossEntropyLossFlat(), WordAccuracy()),
        "targets-not-shifted",
        ("shift", "NextTokenLoss"),
    ),
    "shifted twice": Arms(
        lambda: language_model(CrossEntropyLossFlat(), WordAccuracy(), shifted=True),
        lambda: language_model(NextTokenLoss(), WordAccuracy(ahead=1), shifted=True),
        "targets-shifted-twice",
        ("shift",),
    ),
    "a model that reads what it is to predict": Arms(
        lambda: language_model(CrossEntropyLossFlat(), WordAccuracy(), shifted=True),
        lambda: language_model(CrossEntropyLossFlat(), WordAccuracy(), True, bare("bert", "MaskedLM")),
        "targets-not-shifted",
        ("causal",),
    ),
    "a metric that does not shift": Arms(
        lambda: language_model(NextTokenLoss(), WordAccuracy(ahead=1)),
        lambda: language_model(NextTokenLoss(), WordAccuracy()),
        "metric-at-other-positions",
        ("WordAccuracy(ahead=1)",),
    ),
    "decoder inputs that are the labels": Arms(
        lambda: translation((*INPUTS, "decoder_input_ids"), lambda ids, labels: (shift(labels, 1), labels)),
        lambda: translation((*INPUTS, "decoder_input_ids"), lambda ids, labels: (shift(labels, 0), labels)),
        "targets-not-shifted",
        ("decoder_input_ids",),
    ),
    "labels padded with the padding id": Arms(
        lambda: translation((*INPUTS, "labels"), lambda ids, labels: (labels, labels)),
        lambda: translation((*INPUTS, "labels"), lambda ids, labels: (shift(labels, 0), shift(labels, 0))),
        "padding-counted",
        ("-100",),
    ),
    "no labels for the decoder": Arms(
        lambda: translation((*INPUTS, "labels"), lambda ids, labels: (labels, labels)),
        lambda: translation(INPUTS, lambda ids, labels: (labels,)),
        "decoder-inputs-missing",
        ("'labels'",),
    ),
    "padding labelled as a class": Arms(
        lambda: tags(-100, WordAccuracy()), lambda: tags(0, WordAccuracy()), "padding-counted", ("-100",)
    ),
    "a metric that counts what the loss leaves out": Arms(
        lambda: tags(-100, WordAccuracy()),
        lambda: tags(-100, flat_accuracy),
        "metric-counts-padding",
        ("WordAccuracy()",),
    ),
    "a metric that counts a class that is padding": Arms(
        lambda: tags(0, without_padding, CrossEntropyLossFlat(ignore_index=0)),
        lambda: tags(0, flat_accuracy, CrossEntropyLossFlat(ignore_index=0)),
        "metric-counts-padding",
    ),
    "a loss without targets of any kind": Arms(
        lambda: towers(contrast), lambda: towers(spread_alone), "labels-constant"
    ),
    "targets that are all one row's": Arms(lambda: towers(contrast), lambda: towers(own_rows), "labels-constant"),
}


@pytest.mark.parametrize("name", ARMS)
def test_the_fault_is_seen_and_the_healthy_learner_is_not_blamed(name):
    arms = ARMS[name]
    good, broken = ask(arms.good), ask(arms.broken)
    assert good.at_least("warning") == [] and not good.lacks_probes, good
    assert arms.cause in [finding.cause for finding in broken.at_least("warning")], broken
    told = next(finding for finding in broken.findings if finding.cause == arms.cause)
    assert all(word in told.message + told.fix for word in arms.says)


def ask(build: Callable[[], Any]) -> Any:
    seed_everything(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return diagnose(build())


@pytest.mark.parametrize("name", ["a loss that does not shift", "padding labelled as a class", "shifted twice"])
def test_it_is_seen_while_training_too(name):
    seed_everything(0)
    learn = ARMS[name].broken()
    with stack.watched_by_doctor(learn, lambda line: None) as doctor, stack.no_progress(learn):
        learn.fit(1, 1e-3)
    assert ARMS[name].cause in doctor.diagnosis.causes


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("added", [0, 2])
def test_added_tokens_are_seen_under_a_frozen_body_alone(added, frozen):
    seed_everything(0)
    model = bare("bert", "SequenceClassification")
    model.resize_token_embeddings(VOCAB + added)
    words = [torch.cat([frame(draw_words(8)), torch.tensor([VOCAB + i % 2 if added else 6])]) for i in range(128)]
    rows = list(zip(torch.stack(words), torch.tensor([i % 2 for i in range(128)])))
    dls = make_loaders(SPEC, rows[:96], rows[96:], n_inp=1)
    learn = make_learner(SPEC, dls, model, CrossEntropyLossFlat(), [accuracy], inputs=("input_ids",))
    model.bert.requires_grad_(not frozen)
    causes = diagnose(learn).causes
    assert ("added-tokens-frozen" in causes) == bool(added and frozen)


@pytest.mark.parametrize("shuffled", [False, True])
def test_labels_of_words_that_nothing_tells_of_are_doubted(shuffled):
    seed_everything(0)
    learn = tags(-100, WordAccuracy())
    for loader in learn.dls.loaders if shuffled else []:
        loader.dataset = [(ids, mask, shuffled_targets(target)) for ids, mask, target in loader.dataset]
    diagnosis = diagnose(learn)
    assert ("token-labels-unrelated" in diagnosis.causes) == diagnosis.in_doubt == shuffled


def shuffled_targets(target: Any) -> Any:
    return torch.where(target < 0, target, torch.randint(1, 3, target.shape))


def test_a_translation_as_wide_as_another_than_its_source_is_explained():
    """The loss raises, and the advice is not one for classifiers."""
    seed_everything(0)
    learn = translation(INPUTS, lambda ids, labels: (labels[:, :4],))
    with stack.no_progress(learn), pytest.raises(ValueError) as raised:
        learn.fit(1, 1e-3)
    told = explain(raised.value).findings[0]
    assert told.cause == "decoder-inputs-missing" and "labels" in told.fix


def test_a_classifier_with_targets_of_another_size_is_not_told_about_decoders():
    seed_everything(0)
    learn = tags(-100, WordAccuracy(), lambda output, target: F.cross_entropy(output.view(-1, 3), target[:, 0]))
    with stack.no_progress(learn), pytest.raises(ValueError) as raised:
        learn.fit(1, 1e-3)
    assert explain(raised.value).findings[0].cause == "label-per-text-or-word"


def forgetful(outputs: Any, targets: Any) -> Any:
    """Reads predictions, and returns what it likes."""
    return torch.tensor(0.37)


@pytest.mark.parametrize("metrics", ["alone", "with accuracy"])
def test_a_metric_of_a_callback_is_not_asked_about_and_one_that_forgets_is(metrics):
    run = next(r for r in make_runs(5, 120, "metric of a callback") if r.spec["metrics"] == metrics)
    learn = run.build()
    assert diagnose(learn).at_least("warning") == []
    learn.metrics = [*learn.metrics, forgetful]
    assert diagnose(learn).causes[0] == "metric-ignores-predictions"


@pytest.mark.parametrize("seed", range(4))
def test_rows_that_end_alike_by_chance_are_not_padded(seed):
    def rows(n: int, length: int) -> Any:
        ids = torch.randint(5, 9 + 11 * (seed % 2), (n, 12))
        padded = torch.where(torch.arange(12) < length - torch.arange(n)[:, None] % 7, ids, torch.tensor(3))
        return list(zip(padded, (ids[:, 0] > ids[:, 1]).long()))

    def learner(length: int) -> Any:
        seed_everything(seed)
        dls = make_loaders({**SPEC, "bs": 4}, rows(96, length), rows(32, length), n_inp=1)
        model = HFModel(bare("bert", "SequenceClassification"), inputs=("input_ids",))
        return make_learner(SPEC, dls, model, CrossEntropyLossFlat(), [accuracy])

    assert not [f for f in diagnose(learner(99)).findings if "padd" in f.message]
    assert "wrong-padding-id" in diagnose(learner(12)).causes
