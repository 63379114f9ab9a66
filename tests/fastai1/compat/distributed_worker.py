"""What each of two processes does on fastai 1, and what one process does instead: ``test_distributed.py`` compares."""

import os
import warnings
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import fastai.distributed  # noqa: F401  to_distributed
    from fastai.basic_data import DatasetType
    from fastai.basic_train import Learner, LearnerCallback

from fastai_hf_callback import (
    ColumnwiseAUC,
    Doctor,
    HFCallback,
    HFModel,
    accuracy_thresh,
    compare,
    diagnose,
    heal,
    ordered_preds,
    text_data,
)
from fastai_hf_callback.fastai1.compat.no_progress import no_progress
from fastai_hf_callback.fastai1.data.distributed_loader import TextLoader
from tests.distributed_launcher import current_rank, write
from tests.fastai1.learners import databunch, make_learner
from tests.tiny_models import tiny_model
from tests.tiny_texts import COLUMNS, frame, slow_tokenizer

BS, EVEN, ODD, VALID, TEST = 4, frame(48, 0), frame(45, 1), frame(23, 2), frame(9, 3)
HEALED = ("distributed-on-cpu", "distributed-validate")


def make_data(folder, train=EVEN, bs=BS, **changed):
    settings = dict(bs=bs, val_bs=BS, max_length=32, device=torch.device("cpu"), progress=False, test=TEST, path=folder)
    return text_data(train, VALID, slow_tokenizer(folder), "text", list(COLUMNS), **{**settings, **changed})


def make_text_learner(data, **kwargs):
    """Without dropout: it would draw for other rows in each process. Plain SGD: nothing but gradients moves weights."""
    torch.manual_seed(0)
    bare = tiny_model("bert", data.c)
    for module in bare.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(module, (nn.Linear, nn.Embedding)):
            module.weight.data.mul_(8)  # so that the outputs of an untrained model differ from text to text
    settings = dict(
        metrics=[accuracy_thresh, ColumnwiseAUC()],
        callbacks=[HFCallback()],
        opt_func=torch.optim.SGD,
        path=Path(data.path),
        silent=True,
        wd=0.0,
    )
    return Learner(data, HFModel(bare, inputs=data.inputs), **{**settings, **kwargs})


class Steps(LearnerCallback):
    """Which texts each step had, and the gradient that the optimizer got."""

    _order = 2000

    def __init__(self, learn):
        super().__init__(learn)
        self.texts, self.gradients, self.widths = [], [], []

    def on_batch_begin(self, last_input, train, **kwargs):
        if train:
            ids, *_, mask = last_input
            self.texts.append([tuple(row[real > 0].tolist()) for row, real in zip(ids, mask)])
            self.widths.append(ids.shape[1])

    def on_backward_end(self, **kwargs):
        self.gradients.append(torch.cat([p.grad.flatten() for p in self.learn.model.parameters()]))


class UnsyncedGradients(LearnerCallback):
    """The broken arm: each process keeps its gradients to itself."""

    def on_batch_begin(self, **kwargs):
        self.learn.model.require_backward_grad_sync = False


def record_fit(data, within, *kinds):
    """Gradients, rows and weights of one epoch that begins from the same random state everywhere."""
    learn = make_text_learner(data)
    steps = Steps(learn)
    torch.manual_seed(7)
    with within(learn):
        learn.fit(1, 0.05, callbacks=[steps, *(kind(learn) for kind in kinds)])
    return {
        "texts": steps.texts,
        "gradients": steps.gradients,
        "widths": steps.widths,
        "weights": weights(learn),
        "valid": [float(learn.recorder.val_losses[-1]), *map(float, learn.recorder.metrics[-1])],
    }


def weights(learn):
    return torch.cat([p.detach().flatten() for p in learn.model.parameters()])


def record_predictions(data, within):
    """Validation, predictions of every kind, and a text."""
    learn = make_text_learner(data)
    with within(learn):
        learn.save("weights", with_opt=False)
        return {
            "valid": list(map(float, learn.validate())),
            "preds": learn.get_preds(),
            "preds of test": learn.get_preds(DatasetType.Test),
            "ordered": ordered_preds(learn),
            "ordered train": ordered_preds(learn, DatasetType.Train),
            "one text": learn.predict("the fox sees a fern")[2],
            "model": type(learn.model).__name__,
        }


def record_plain_fit(within, rows=45):
    """The figures of a fit of a learner whose loaders know nothing of texts, and what is left of its model."""
    torch.manual_seed(0)
    learn = make_learner("bert")
    learn.data = databunch("classes", rows=rows)
    with within(learn):
        learn.fit(1, 0.0, wd=0.0)
        figures = [float(learn.recorder.val_losses[-1]), *map(float, learn.recorder.metrics[-1])]
        return {"fit": figures, "valid": list(map(float, learn.validate())), "model": type(learn.model).__name__}


@contextmanager
def in_one_process(learn):
    with no_progress(learn):
        yield


@contextmanager
def bare_processes(learn):
    learn.to_distributed(current_rank())
    yield


@contextmanager
def in_distributed_context(learn):
    with heal(*HEALED), no_progress(learn), bare_processes(learn):
        yield


@contextmanager
def all_healed(learn):
    with heal(), no_progress(learn), bare_processes(learn):
        yield


def record_doctor(data, lr):
    said, learn = [], make_text_learner(data)
    learn.callbacks.append(Doctor(learn, say=said.append))
    with in_distributed_context(learn):
        learn.fit(2, lr)
    seen = learn.doctor.diagnosis
    return {"said": said, "causes": seen.causes, "missed": seen.evidence.skipped}


def error_of(act):
    try:
        act()
    except Exception as error:
        return type(error).__name__, str(error)
    return None


def run_all(folder):
    even, odd = make_data(folder), make_data(folder, ODD)
    found = {"without heal": error_of(lambda: record_fit(even, bare_processes))}
    found["even"], found["odd"] = record_fit(even, in_distributed_context), record_fit(odd, in_distributed_context)
    found["workers"] = record_fit(make_data(folder, ODD, num_workers=1), in_distributed_context)
    found["unsynchronised"] = record_fit(even, in_distributed_context, UnsyncedGradients)
    found["look"] = record_predictions(odd, in_distributed_context)
    found["other rows"] = error_of(
        lambda: record_fit(make_data(folder, ODD[: 40 + current_rank()]), in_distributed_context)
    )
    found["healthy"], found["fault"] = record_doctor(even, 0.01), record_doctor(even, 1e-12)
    learn = make_text_learner(even)
    with in_distributed_context(learn):
        found["diagnosis"] = diagnose(learn).causes if current_rank() == 0 else []
        found["diagnosis of all"] = diagnose(learn).causes
    found["compare"] = error_of(lambda: compare(lambda: make_text_learner(even)))
    ours, TextLoader.new = TextLoader.new, TextLoader.__base__.new  # fastai's own sharing: the broken arm
    try:
        found["fastai's fit"] = record_fit(odd, in_distributed_context)
    finally:
        TextLoader.new = ours
    with heal("distributed-on-cpu"):
        found["plain, on cpu"] = record_plain_fit(bare_processes)
    found["plain, mended"] = record_plain_fit(all_healed)
    return found


def work(folder):
    """What each process does."""
    os.chdir(str(folder))
    torch.distributed.init_process_group("gloo", init_method="env://")
    write(folder, run_all(Path(str(folder))))
    torch.distributed.destroy_process_group()
