"""Why a metric may stand still under fastai 1: a function per candidate cause, each beside a healthy control.

``python -m tests.docs.stuck_metric_causes [NAME ...]`` prints the figures of docs/why-the-metric-stood-still.md.
"""

import copy
import sys
import tempfile
import warnings
from functools import lru_cache, partial
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

import numpy as np
import torch
from torch import Tensor, nn

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from fastai.basic_data import DataBunch
    from fastai.callback import Callback
    from fastai.metrics import accuracy_thresh
    from fastai.train import Learner

from fastai_hf_callback import ColumnwiseAUC, HFCallback, HFModel, compare, patched_loop, unwrap
from fastai_hf_callback.data.batches.padding import pad_rows
from fastai_hf_callback.fastai1.compat.no_progress import no_progress
from fastai_hf_callback.utils.rng import seed_everything
from tests.tiny_models import VOCAB, tiny_model

LABELS, RATE, ROWS, VALID_ROWS, BATCH = 6, 0.04, 1024, 512, 16  # 96 % zeros, as in the article's data
PAD, CLS, SEP, TOLD_BY = 0, 2, 3, 5  # label k is on where token TOLD_BY + k stands
LR, EPOCHS, THRESHOLD = 3e-3, 4, 0.25  # the threshold is the article's

Rows = List[List[int]]
Figures = Dict[str, Any]

accuracy = partial(accuracy_thresh, thresh=THRESHOLD)


class Seen(NamedTuple):
    """A run as the learner's table shows it, a value per epoch; `auc` is what a thresholded accuracy hides."""

    train_loss: Tuple[float, ...]
    accuracy: Tuple[float, ...]
    auc: Tuple[float, ...]

    def lines(self) -> List[str]:
        columns = (("accuracy", self.accuracy, 3), ("loss", self.train_loss, 2), ("AUC", self.auc, 2))
        return [
            f"{name:<8}  {' '.join(f'{v:<5.{digits}f}' for v in values)}".rstrip() for name, values, digits in columns
        ]


# -- what is certain --------------------------------------------------------------------------------------------


def exonerated() -> Figures:
    """The callback against the article's patched loop, bit for bit."""
    found = compare(make_learner, fit=lambda learn: learn.fit(1, LR), progress=False)
    differs = found.broken_difference
    return {
        "verdict": found.verdict,
        "values compared": len(list(found.traces["callback"].observations())),
        "broken arm differs at": f"step {differs.step} of epoch {differs.epoch}, in its {differs.quantity}",
    }


# -- the candidates, those that fit best first --------------------------------------------------------------------


def base_rate() -> Figures:
    """The metric cannot tell a model that learns from one that says no to everything."""
    return {"all zeros": all_zeros_score(), "healthy run": fit(make_learner(make_model(width=0.1)), epochs=6)}


def saturated_weights() -> Figures:
    """A run diverged, without a NaN; a new Learner with a good rate is built on the same model object."""
    return _after_a_run_at(1.0, EPOCHS)


def nan_weights() -> Figures:
    """A run ended in NaN; a new Learner with a good rate is built on the same model object."""
    return _after_a_run_at(1e30, 2)


def _after_a_run_at(lr: float, epochs: int) -> Figures:
    model = make_model()
    fit(make_learner(model), 1, lr)
    return {"all zeros": all_zeros_score(), "same model": fit(make_learner(model), epochs), "new model": healthy()}


def half_weights() -> Figures:
    """``to_fp16`` halved the model in place; a new Learner on it has no fp32 master copies."""
    return {
        "weights after to_fp16": dtype_after_to_fp16(),
        "all zeros": all_zeros_score(),
        **_trained_on("held in half", _HeldInHalf),
        **_trained_on("held in fp32", Callback),
    }


class _HeldInHalf(Callback):
    """Half weights on a CPU, where torch 1.4 cannot multiply them: rounded to half after each step."""

    model: nn.Module

    def on_step_end(self, **kwargs: Any) -> None:
        round_to_half(self.model)


def _trained_on(kind: str, make_holder: Callable[[], Callback]) -> Figures:
    model, holder = half_trained(), make_holder()
    round_to_half(model)  # both begin alike
    holder.model, before = model, weights_of(model)
    seen = fit(make_learner(model, [HFCallback(), holder]), epochs=4, lr=7e-5)
    return {kind: seen, f"{kind}, weights that changed": f"{share_changed(model, before):.0%}"}


def model_swapped() -> Figures:
    """``learn.model = other`` once the Learner is built: the optimizer goes on stepping the first model."""
    learn, other = make_learner(), half_trained()
    first, learn.model = learn.model, other
    learn.create_opt(LR)  # which does not heal it: layer_groups are still the first model's
    before = weights_of(first), weights_of(other)
    return {
        "all zeros": all_zeros_score(),
        "swapped": fit(learn, 3),
        "first model moved by": distance(first, before[0]),
        "learn.model moved by": distance(other, before[1]),
        "new Learner": fit(make_learner(half_trained()), 1),
    }


def detached_output() -> Figures:
    """The output was cut from the model and made to require grad, so that nothing complains."""
    learn = make_learner(callbacks=[_Detached()])
    before = weights_of(learn.model)
    return {
        "all zeros": all_zeros_score(),
        "detached": fit(learn, 3),
        "weights moved by": distance(learn.model, before),
        "HFCallback beside it": said(lambda: fit(make_learner(callbacks=[HFCallback(), _Detached()]))),
        "not detached": healthy(),
    }


class _Detached(Callback):
    def on_loss_begin(self, last_output: Any, **kwargs: Any) -> Dict[str, Tensor]:
        return {"last_output": unwrap(last_output).detach().requires_grad_()}


def patch_left_active() -> Figures:
    """A callback on top of the patched loop, which has unwrapped already."""
    alone, both = make_learner(), make_learner()
    seen = fit(alone, 1)
    with patched_loop(), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        plain = said(lambda: fit(make_learner(callbacks=[_FirstElement()])))
        same = fit(both, 1) == seen and distance(both.model, weights_of(alone.model)) == 0
    return {
        "last_output[0] on top": plain,
        "HFCallback on top": "equal to without the patch" if same else "differs",
        "its warning": next(str(w.message).split(" (")[0] for w in warned if "patched" in str(w.message)),
    }


class _FirstElement(Callback):
    def on_loss_begin(self, last_output: Any, **kwargs: Any) -> Dict[str, Tensor]:
        return {"last_output": last_output[0]}


# -- what the recipe got wrong unseen ---------------------------------------------------------------------------------


def ignored_collate() -> Figures:
    """``TextClasDataBunch.create`` ignores ``collate_fn``: what its batches are, and what a row's batch mates do."""
    recipe, masked = recipe_databunch(), databunch()
    bare, wrapped = make_model().model, _healthy()[0]
    fit(make_learner(bare, data=recipe))
    return {
        "asked for": "padding behind, with id 0",
        "got": padding_of(recipe),
        "rows that begin with [CLS]": f"{share_of_cls(recipe):.0%}",
        "right-padded": f"{share_of_cls(masked):.0%}",
        "batch mates change a probability by up to": in_company(bare, recipe.collate_fn),
        "sorted by length, by up to": in_company(bare, recipe.collate_fn, key=lambda item: len(item[0])),
        "right-padded and masked, by up to": at_most_1e_6(in_company(wrapped, _collate)),
    }


def recipe_databunch() -> DataBunch:
    """The article's call, on fastai.text's own classes."""
    from fastai.text import TextClasDataBunch, Vocab, pad_collate

    (rows, targets), (valid, valid_targets) = rows_and_targets(ROWS, 0), rows_and_targets(VALID_ROWS, 1)
    with tempfile.TemporaryDirectory() as folder:
        return TextClasDataBunch.from_ids(
            folder,
            Vocab([str(i) for i in range(VOCAB)]),
            _ragged(rows),
            _ragged(valid),
            train_lbls=targets.numpy(),
            valid_lbls=valid_targets.numpy(),
            classes=[f"label {k}" for k in range(LABELS)],
            bs=BATCH,
            num_workers=0,
            device=torch.device("cpu"),
            collate_fn=partial(pad_collate, pad_first=False, pad_idx=0),
        )


def _ragged(rows: Rows) -> np.ndarray:
    made = np.empty(len(rows), dtype=object)
    made[:] = [np.array(row) for row in rows]
    return made


def padding_of(data: DataBunch) -> str:
    ids = next(batch for batch in batches(data) if len(set(batch[:, 0].tolist())) > 1)
    (pad,) = set(ids[:, 0].tolist()) - {CLS}
    return f"padding in front, with id {pad}"


def share_of_cls(data: DataBunch) -> float:
    begins = torch.cat([batch[:, 0] for batch in batches(data)])
    return float((begins == CLS).float().mean())


def batches(data: DataBunch) -> Iterator[Tensor]:
    """The token ids of each training batch of an epoch."""
    seed_everything(0)
    for inputs, _ in data.train_dl:
        yield inputs if isinstance(inputs, Tensor) else inputs[0]


def in_company(model: nn.Module, collate: Callable[..., Any], key: Callable[[Any], int] = lambda item: 0) -> float:
    """The largest change of a probability between a row alone and the same row in a batch, sorted by `key`."""
    rows, targets = rows_and_targets(8 * BATCH, 2)
    items = sorted(zip(rows, targets.numpy()), key=key)
    model.eval()
    groups = [items[i : i + BATCH] for i in range(0, len(items), BATCH)]
    together = torch.cat([probabilities(model, collate(group)[0]) for group in groups])
    alone = torch.cat([probabilities(model, collate([item])[0]) for item in items])
    return float((together - alone).abs().max())


def at_most_1e_6(value: float) -> Any:
    """In words what is rounding, whose digits are the CPU's own."""
    return "1e-6 at most" if value <= 1e-6 else value


def probabilities(model: nn.Module, inputs: Any) -> Tensor:
    with torch.no_grad():
        return torch.sigmoid(unwrap(model(*inputs) if isinstance(inputs, list) else model(inputs)))


# -- learners ---------------------------------------------------------------------------------------------------------


def make_learner(
    model: Optional[nn.Module] = None, callbacks: Optional[List[Callback]] = None, data: Optional[DataBunch] = None
) -> Learner:
    """A learner of six rare labels, with the article's metric and the AUC beside it."""
    return Learner(
        data or databunch(),
        make_model() if model is None else model,
        loss_func=nn.BCEWithLogitsLoss(),
        metrics=[accuracy, ColumnwiseAUC()],
        callbacks=[HFCallback()] if callbacks is None else callbacks,
    )


def make_model(width: float = 0.3) -> HFModel:
    """A BERT of two layers; `width` spreads its first weights, and the wider learn sooner."""
    torch.manual_seed(0)
    settings = dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, initializer_range=width)
    return HFModel(tiny_model("bert", LABELS, **settings), inputs=("input_ids", "attention_mask"))


def half_trained() -> nn.Module:
    """A model, new each time, that has begun to learn and is still at the base rate."""
    return copy.deepcopy(_half_trained())


@lru_cache(None)
def _half_trained() -> nn.Module:
    learn = make_learner()
    fit(learn, 2)
    return learn.model


def healthy() -> Seen:
    """The control: a new model under a new Learner."""
    return _healthy()[1]


@lru_cache(None)
def _healthy() -> Tuple[nn.Module, Seen]:
    learn = make_learner()
    return learn.model, fit(learn)


def fit(learn: Learner, epochs: int = EPOCHS, lr: float = LR) -> Seen:
    seed_everything(0)
    with no_progress(learn):
        learn.fit(epochs, lr)
    losses, steps = learn.recorder.losses, len(learn.data.train_dl)
    return Seen(
        tuple(float(losses[steps * (epoch + 1) - 1]) for epoch in range(epochs)),
        *(tuple(float(value) for value in column) for column in zip(*learn.recorder.metrics)),
    )


@lru_cache(None)
def rows_and_targets(n: int, seed: int) -> Tuple[Rows, Tensor]:
    """Token ids, ``[CLS] words [SEP]`` of different lengths, and targets that single words tell."""
    draw = torch.Generator().manual_seed(seed)
    targets = torch.rand(n, LABELS, generator=draw) < RATE
    rows = []
    for row in targets:
        telling = [TOLD_BY + k for k in range(LABELS) if row[k]] * 2
        length = int(torch.randint(3, 13, (1,), generator=draw))
        words = torch.randint(TOLD_BY + LABELS, VOCAB, (length,), generator=draw).tolist()
        rows.append([CLS] + words[: max(0, length - len(telling))] + telling + [SEP])
    return rows, targets.float()


def databunch() -> DataBunch:
    """Padded on the right, and masked."""

    def part(n: int, seed: int) -> List[Any]:
        rows, targets = rows_and_targets(n, seed)
        return list(zip(rows, targets.numpy()))

    return DataBunch.create(
        part(ROWS, 0),
        part(VALID_ROWS, 1),
        bs=BATCH,
        collate_fn=_collate,
        num_workers=0,
        device=torch.device("cpu"),
        pin_memory=False,
        no_check=True,
    )


def _collate(items: List[Any]) -> Any:
    rows, targets = zip(*items)
    return [pad_rows(rows, PAD), pad_rows([[1] * len(row) for row in rows], 0)], torch.as_tensor(np.stack(targets))


# -- measures ---------------------------------------------------------------------------------------------------------


def all_zeros_score() -> float:
    return float((rows_and_targets(VALID_ROWS, 1)[1] == 0).float().mean())


def weights_of(model: nn.Module) -> Dict[str, Tensor]:
    return copy.deepcopy(model.state_dict())


def distance(model: nn.Module, before: Dict[str, Tensor]) -> float:
    """The largest change of any weight."""
    return max(float((value - before[name]).abs().max()) for name, value in model.state_dict().items())


def share_changed(model: nn.Module, before: Dict[str, Tensor]) -> float:
    """The share of weights that are not what they were."""
    changed = torch.cat([(value != before[name]).flatten() for name, value in model.state_dict().items()])
    return float(changed.float().mean())


def round_to_half(model: nn.Module) -> None:
    for weight in model.parameters():
        weight.data.copy_(weight.data.half())


def dtype_after_to_fp16() -> str:
    """What a new Learner finds in a model that another one has turned to fp16."""
    model = make_model()
    make_learner(model).to_fp16()
    return str(next(make_learner(model).model.parameters()).dtype)


def said(action: Callable[[], Any]) -> str:
    """The beginning of the error that `action` raises."""
    try:
        action()
    except Exception as error:
        return f"{type(error).__name__}: {str(error).split(':')[0].split('. ')[0]}"
    return "no error"


# -- printing ---------------------------------------------------------------------------------------------------------

CAUSES = {
    cause.__name__: cause
    for cause in (
        exonerated,
        base_rate,
        saturated_weights,
        half_weights,
        model_swapped,
        detached_output,
        nan_weights,
        patch_left_active,
        ignored_collate,
    )
}


@lru_cache(None)
def figures(name: str) -> Figures:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return CAUSES[name]()


def lines(name: str) -> List[str]:
    """What is printed of one cause."""
    found = figures(name)
    width = max(map(len, found))
    return [line for label, value in found.items() for line in _lines(label.ljust(width), value)]


def _lines(label: str, value: Any) -> List[str]:
    if isinstance(value, Seen):
        return [f"{label if i == 0 else ' ' * len(label)}  {line}" for i, line in enumerate(value.lines())]
    return [f"{label}  {f'{value:.3g}' if isinstance(value, float) else value}"]


def main(names: List[str]) -> None:
    torch.set_num_threads(1)
    for name in names or CAUSES:
        print(*([] if names else [f"\n{name}"]), *lines(name), sep="\n", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
