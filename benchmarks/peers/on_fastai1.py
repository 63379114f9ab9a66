"""fastai 1: the patched loop of 2019, the callback, and the way of `text_data`."""

import resource
import time
from contextlib import nullcontext
from functools import partial
from operator import itemgetter
from statistics import median

import torch
from fastai.basic_data import DataBunch
from fastai.callback import Callback
from fastai.train import Learner
from fastai_common import (
    FREE_BATCH,
    NearlyFree,
    NearlyFreeText,
    TimedDoctor,
    big_outputs,
    feeding_seconds,
    free_batches,
    hf_batches,
    named_batches,
)
from serving import CPU, serve, versions
from torch import nn
from torch.utils.data import DataLoader
from workload import BATCH, LONGEST, LR, WEIGHT_DECAY, Counted, model, texts, tokenizer

from fastai_hf_callback import Doctor, HFCallback, HFModel, patched_loop, text_data
from fastai_hf_callback.fastai1.compat.no_progress import no_progress
from fastai_hf_callback.fastai1.data.loaders import ItemCollator

CPU_ALONE = dict(num_workers=0, device=torch.device("cpu"), pin_memory=False, no_check=True)


def loop_of(arm):
    return patched_loop() if arm.startswith("patched") else nullcontext()


def callbacks_of(arm):
    """No-op: fastai's own class, that does nothing. `callback`: ours."""
    return {"patched": [], "patched no-op": [Callback()], "callback": [HFCallback()]}[arm.split(",")[0]]


# -- samples per second ----------------------------------------------------------------------------------------------


def data_of(rows, size, random):
    found, labels = texts(rows, size)
    frame = {"text": [*found, found[0]], "label": [*map(int, labels), 0]}
    import pandas as pd

    frame = pd.DataFrame(frame)
    data = text_data(
        frame[:rows],
        frame[rows:],
        tokenizer(size),
        text="text",
        labels="label",
        bs=BATCH,
        max_length=LONGEST,
        device=torch.device("cpu"),
        progress=False,
    )
    data.valid_dl = None
    if random:
        dataset = data.train_ds
        data.train_dl.dl = DataLoader(dataset, BATCH, shuffle=True, collate_fn=ItemCollator(dataset.x.collator))
    return data


def epoch(arm, size, rows, seed=0):
    """Seconds of an epoch, and the tokens computed in it."""
    data, net = data_of(rows, size, random=arm != "text_data"), model(size)
    outer = HFModel(net, inputs=data.inputs, pad_token_id=0)
    learn = Learner(
        data,
        outer,
        loss_func=nn.CrossEntropyLoss(),
        opt_func=partial(torch.optim.AdamW),
        true_wd=False,
        wd=WEIGHT_DECAY,
        callbacks=[] if arm == "patched" else [HFCallback()],
    )
    counted = Counted(net)
    torch.manual_seed(seed)
    with no_progress(learn), loop_of(arm), CPU() as clock:
        learn.fit(1, LR)
    return {"seconds": clock.seconds, "tokens": counted.tokens, "loss": float(learn.recorder.losses[-1])}


# -- fixed costs, steps, the doctor ----------------------------------------------------------------------------------

learners = {}


class Ready(list):
    """Batches made beforehand; notes when each is asked for."""

    asked = ()

    def __getitem__(self, at):
        self.asked.append(time.process_time())
        return super().__getitem__(at)


def batches_of(kind, number):
    """A nearly free model's, those of one with named inputs, or those of a model of a size."""
    return {"free": free_batches, "free, named": named_batches}.get(kind, partial(hf_batches, kind))(number)


def net_of(kind):
    if kind == "free":
        return NearlyFree()
    net = NearlyFreeText() if kind == "free, named" else model(kind)
    return HFModel(net, ("input_ids", "attention_mask"), pad_token_id=0)


def learner_of(kind, arm, batches):
    ready = Ready(batches_of(kind, batches))
    bunch = DataBunch.create(ready, ready, bs=1, collate_fn=itemgetter(0), **CPU_ALONE)
    bunch.valid_dl = None
    net = net_of(kind)
    learn = Learner(
        bunch, net, loss_func=nn.CrossEntropyLoss(), callbacks=callbacks_of("callback" if arm == "doctor" else arm)
    )
    if arm == "doctor":
        learn.callbacks.append(TimedDoctor.over(Doctor)(learn, say=lambda text: None))
    return learn


def steps(kind, arm, batches):
    """Microseconds from one batch to the next, one figure per batch; and of those inside the doctor, a share."""
    learn = learners.setdefault((kind, arm, batches), None) or learner_of(kind, arm, batches)
    learners[kind, arm, batches] = learn
    asked = learn.data.train_dl.dl.dataset.asked = []
    doctor = next((callback for callback in learn.callbacks if isinstance(callback, Doctor)), None)
    if doctor is not None:
        doctor.seconds = 0.0
    with no_progress(learn), loop_of(arm), CPU() as clock:
        learn.fit(1, 1e-3 if kind.startswith("free") else LR)
    gaps = [(b - a) * 1e6 for a, b in zip(asked, asked[1:])]
    return {
        "median": median(gaps),
        "gaps": None if kind.startswith("free") else gaps,
        "seconds": clock.seconds,
        "doctor": None if doctor is None else doctor.seconds / clock.seconds,
    }


# -- memory ----------------------------------------------------------------------------------------------------------


def peak_memory(arm, returned):
    """MiB of this process at its most. Asked of a process of its own; `returned`: hidden states and attentions too."""
    net, data = big_outputs("pytorch_transformers", returned)
    bunch = DataBunch.create(data, data, bs=16, **CPU_ALONE)
    learn = Learner(bunch, net, loss_func=nn.CrossEntropyLoss(), callbacks=callbacks_of(arm))
    with no_progress(learn), loop_of(arm):
        learn.fit(2, 1e-4)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


# -- growth ----------------------------------------------------------------------------------------------------------


def feeding(rows, times):
    """Seconds of tokenising and of one pass over the training batches; no model."""

    def make(frame, own):
        return text_data(
            frame[:rows],
            frame[rows:],
            own,
            text="text",
            labels="label",
            bs=BATCH,
            max_length=LONGEST,
            device=torch.device("cpu"),
            progress=False,
        ).train_dl

    return feeding_seconds(make, rows, times)


if __name__ == "__main__":
    serve(
        {
            "epoch": epoch,
            "steps": steps,
            "peak_memory": peak_memory,
            "feeding": feeding,
            "batch": lambda: FREE_BATCH,
            "versions": lambda: versions("torch", "fastai", "transformers", "pytorch-transformers"),
        }
    )
