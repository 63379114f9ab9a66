"""What each of two processes does on fastai 2, and what one process does instead: ``test_distributed.py`` compares."""

import os
from pathlib import Path

import fastai.distributed as distributed
import torch
from fastai.callback.core import Callback
from fastai.learner import Learner
from fastai.metrics import accuracy_multi
from fastai.optimizer import SGD
from torch import nn

from fastai_hf_callback import (
    ColumnwiseAUC,
    Doctor,
    HFCallback,
    HFModel,
    compare,
    diagnose,
    heal,
    ordered_preds,
    text_data,
)
from fastai_hf_callback.fastai2.data import distributed_loader as sharing
from tests.distributed_launcher import current_rank, write
from tests.fastai2.learners import loaders, make_learner, without_progress_bar
from tests.tiny_models import tiny_transformers_model
from tests.tiny_texts import COLUMNS, fast_tokenizer, frame

BS, EVEN, ODD, VALID, TEST = 4, frame(48, 0), frame(45, 1), frame(23, 2), frame(9, 3)


def make_data(folder, train=EVEN, bs=BS, **changed):
    settings = dict(bs=bs, val_bs=BS, max_length=32, device=torch.device("cpu"), progress=False, test=TEST, path=folder)
    return text_data(train, VALID, fast_tokenizer(folder), "text", list(COLUMNS), **{**settings, **changed})


def make_text_learner(dls, **kwargs):
    """Without dropout: it would draw for other rows in each process."""
    torch.manual_seed(0)
    bare = tiny_transformers_model("bert", dls.c)
    for module in bare.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(module, (nn.Linear, nn.Embedding)):
            module.weight.data.mul_(8)  # so that the outputs of an untrained model differ from text to text
    settings = dict(metrics=[accuracy_multi, ColumnwiseAUC()], cbs=[HFCallback()], opt_func=SGD, path=dls.path)
    return without_progress_bar(Learner(dls, HFModel(bare, inputs=dls.inputs), **{**settings, **kwargs}))


class Steps(Callback):
    """Which texts each step had, and the gradient that the optimizer got."""

    order = 2000

    def __init__(self):
        self.texts, self.gradients, self.widths = [], [], []

    def before_batch(self):
        if self.learn.training:
            ids, *_, mask = self.learn.xb
            self.texts.append([tuple(row[real > 0].tolist()) for row, real in zip(ids, mask)])
            self.widths.append(ids.shape[1])

    def before_step(self):
        self.gradients.append(torch.cat([p.grad.flatten() for p in self.learn.model.parameters()]))


class UnsyncedGradients(Callback):
    """The broken arm: each process keeps its gradients to itself."""

    def before_batch(self):
        self.learn.model.require_backward_grad_sync = False


def record_fit(dls, within, *cbs):
    """Gradients, rows and weights of one epoch that begins from the same random state everywhere."""
    learn, steps = make_text_learner(dls), Steps()
    torch.manual_seed(7)
    with within(learn):
        learn.fit(1, 0.05, cbs=[steps, *cbs])
    return {
        "texts": steps.texts,
        "gradients": steps.gradients,
        "widths": steps.widths,
        "weights": weights(learn),
        "record": list(learn.recorder.values[-1]),
    }


def weights(learn):
    return torch.cat([p.detach().flatten() for p in learn.model.parameters()])


def record_predictions(dls, within):
    """Validation, predictions of every kind, and a text."""
    learn = make_text_learner(dls)
    with within(learn):
        learn.save("weights", with_opt=False)
        return {
            "valid": list(learn.validate()),
            "test": list(learn.validate(dl=dls.test)),
            "preds": learn.get_preds(),
            "preds of test": learn.get_preds(dl=dls.test),
            "preds of train": learn.get_preds(ds_idx=0),
            "loss": learn.get_preds(with_loss=True)[-1],
            "ordered": ordered_preds(learn),
            "ordered train": ordered_preds(learn, "train"),
            "one text": learn.predict("the fox sees a fern")[2],
        }


def record_plain_predictions(within, rows=45):
    """The same of a learner whose loaders know nothing of texts."""
    torch.manual_seed(0)
    learn = make_learner("bert")
    learn.dls = loaders(rows=rows)
    with within(learn):
        return {"valid": list(learn.validate()), "preds": learn.get_preds()}


def in_one_process(learn):
    """Outside ``distrib_ctx``."""
    return torch.enable_grad()


def in_distributed_context(learn):
    return learn.distrib_ctx(cpu=True, sync_bn=False)


def record_doctor(dls, lr):
    said, learn = [], make_text_learner(dls)
    learn.add_cb(Doctor(say=said.append))
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
    found = {"without heal": error_of(lambda: record_plain_predictions(in_distributed_context))}
    found["even"], found["odd"] = record_fit(even, in_distributed_context), record_fit(odd, in_distributed_context)
    found["workers"] = record_fit(make_data(folder, ODD, num_workers=1), in_distributed_context)
    found["unsynchronised"] = record_fit(even, in_distributed_context, UnsyncedGradients())
    found["look"] = record_predictions(odd, in_distributed_context)
    found["look outside"] = record_predictions(odd, in_one_process)
    found["other rows"] = error_of(
        lambda: record_fit(make_data(folder, ODD[: 40 + current_rank()]), in_distributed_context)
    )
    found["healthy"] = record_doctor(even, 0.01)
    found["fault"] = record_doctor(even, 1e-12)
    learn = make_text_learner(even)
    with in_distributed_context(learn):
        found["diagnosis"] = diagnose(learn).causes if current_rank() == 0 else []
        found["diagnosis of all"] = diagnose(learn).causes
        torch.manual_seed(current_rank())
        found["drawn"] = error_of(lambda: learn.get_preds(dl=even.train))
    found["compare"] = error_of(lambda: compare(lambda: make_text_learner(even)))
    with heal("distributed-on-cpu"):
        found["plain, on cpu"] = record_plain_predictions(in_distributed_context)
        ours, sharing.shard_loader = (
            sharing.shard_loader,
            lambda learn: learn.dl,
        )  # fastai's own sharing: the broken arm
        try:
            found["fastai's look"], found["fastai's fit"] = (
                record_predictions(odd, in_distributed_context),
                record_fit(odd, in_distributed_context),
            )
        finally:
            sharing.shard_loader = ours
    with heal() as mended:
        found["mended"], found["plain, mended"] = mended, record_plain_predictions(in_distributed_context)
        found["plain, outside"] = record_plain_predictions(in_one_process)
    return found


def work(folder):
    """What each process does."""
    os.chdir(str(folder))
    write(folder, run_all(Path(str(folder))))
    assert distributed.num_distrib() == 2
    torch.distributed.destroy_process_group()
