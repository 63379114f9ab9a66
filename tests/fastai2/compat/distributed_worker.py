"""What each of two processes does on fastai 2, and what one process does instead: ``test_distributed.py`` compares.
Run by torch's launcher: ``distributed_worker.py FOLDER``.
"""
import sys
import warnings
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
from tests.fastai2.learners import hushed, loaders, make_learner
from tests.distributed_launcher import this_rank, write
from tests.tiny_texts import COLUMNS, fast_tokenizer, frame
from tests.tiny_models import model_of_today

BS, EVEN, ODD, VALID, TEST = 4, frame(48, 0), frame(45, 1), frame(23, 2), frame(9, 3)


def make_data(folder, train=EVEN, bs=BS, **changed):
    settings = dict(bs=bs, val_bs=BS, max_len=32, device=torch.device("cpu"), progress=False, test=TEST, path=folder)
    return text_data(train, VALID, fast_tokenizer(folder), "text", list(COLUMNS), **{**settings, **changed})


def a_learner(dls, **kwargs):
    """Without dropout: it would draw for other rows in each process."""
    torch.manual_seed(0)
    bare = model_of_today("bert", dls.c)
    for module in bare.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(module, (nn.Linear, nn.Embedding)):
            module.weight.data.mul_(8)  # so that the outputs of an untrained model differ from text to text
    settings = dict(metrics=[accuracy_multi, ColumnwiseAUC()], cbs=[HFCallback()], opt_func=SGD, path=dls.path)
    return hushed(Learner(dls, HFModel(bare, inputs=dls.inputs), **{**settings, **kwargs}))


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


class Unsynchronised(Callback):
    """The broken arm: each process keeps its gradients to itself."""

    def before_batch(self):
        self.learn.model.require_backward_grad_sync = False


def a_fit(dls, within, *cbs):
    """Gradients, rows and weights of one epoch that begins from the same random state everywhere."""
    learn, steps = a_learner(dls), Steps()
    torch.manual_seed(7)
    with within(learn):
        learn.fit(1, 0.05, cbs=[steps, *cbs])
    return {"texts": steps.texts, "gradients": steps.gradients, "widths": steps.widths, "weights": weights(learn),
            "record": list(learn.recorder.values[-1])}


def weights(learn):
    return torch.cat([p.detach().flatten() for p in learn.model.parameters()])


def a_look(dls, within):
    """Validation, predictions of every kind, and a text."""
    learn = a_learner(dls)
    with within(learn):
        learn.save("weights", with_opt=False)
        return {"valid": list(learn.validate()), "test": list(learn.validate(dl=dls.test)),
                "preds": learn.get_preds(), "preds of test": learn.get_preds(dl=dls.test),
                "preds of train": learn.get_preds(ds_idx=0), "loss": learn.get_preds(with_loss=True)[-1],
                "ordered": ordered_preds(learn), "ordered train": ordered_preds(learn, "train"),
                "one text": learn.predict("the fox sees a fern")[2]}


def plain_look(within, rows=45):
    """The same of a learner whose loaders know nothing of texts."""
    torch.manual_seed(0)
    learn = make_learner("bert")
    learn.dls = loaders(rows=rows)
    with within(learn):
        return {"valid": list(learn.validate()), "preds": learn.get_preds()}


def one_process(learn):
    """Outside ``distrib_ctx``."""
    return torch.enable_grad()


def two_processes(learn):
    return learn.distrib_ctx(cpu=True, sync_bn=False)


def said_by_the_doctor(dls, lr):
    said, learn = [], a_learner(dls)
    learn.add_cb(Doctor(say=said.append))
    with two_processes(learn):
        learn.fit(2, lr)
    seen = learn.doctor.diagnosis
    return {"said": said, "causes": seen.causes, "missed": seen.evidence.not_looked_at}


def raised(act):
    try:
        act()
    except Exception as error:
        return type(error).__name__, str(error)
    return None


def everything(folder):
    even, odd = make_data(folder), make_data(folder, ODD)
    found = {"without heal": raised(lambda: plain_look(two_processes))}
    found["even"], found["odd"] = a_fit(even, two_processes), a_fit(odd, two_processes)
    found["workers"] = a_fit(make_data(folder, ODD, num_workers=1), two_processes)
    found["unsynchronised"] = a_fit(even, two_processes, Unsynchronised())
    found["look"] = a_look(odd, two_processes)
    found["look outside"] = a_look(odd, one_process)
    found["other rows"] = raised(lambda: a_fit(make_data(folder, ODD[:40 + this_rank()]), two_processes))
    found["healthy"] = said_by_the_doctor(even, 0.01)
    found["fault"] = said_by_the_doctor(even, 1e-12)
    learn = a_learner(even)
    with two_processes(learn):
        found["diagnosis"] = diagnose(learn).causes if this_rank() == 0 else []
        found["diagnosis of all"] = diagnose(learn).causes
        torch.manual_seed(this_rank())
        found["drawn"] = raised(lambda: learn.get_preds(dl=even.train))
    found["compare"] = raised(lambda: compare(lambda: a_learner(even)))
    with heal("distributed-on-cpu"):
        found["plain, on cpu"] = plain_look(two_processes)
        ours, sharing.shared = sharing.shared, lambda learn: learn.dl  # fastai's own sharing: the broken arm
        try:
            found["fastai's look"], found["fastai's fit"] = a_look(odd, two_processes), a_fit(odd, two_processes)
        finally:
            sharing.shared = ours
    with heal() as mended:
        found["mended"], found["plain, mended"] = mended, plain_look(two_processes)
        found["plain, outside"] = plain_look(one_process)
    return found


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    write(sys.argv[1], everything(Path(sys.argv[1])))
    assert distributed.num_distrib() == 2
    torch.distributed.destroy_process_group()
