"""fastai 2: the patched loop, the callback, and the way of `text_data`."""

import resource
import time
from contextlib import nullcontext
from functools import partial
from statistics import median

import pandas as pd
import torch
from fastai.callback.core import Callback, CancelValidException
from fastai.data.core import DataLoader, DataLoaders
from fastai.learner import Learner
from fastai.optimizer import OptimWrapper
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
from workload import BATCH, LONGEST, LR, WEIGHT_DECAY, Counted, model, texts, tokenizer

from fastai_hf_callback import Doctor, HFCallback, HFModel, patched_loop, text_data
from fastai_hf_callback.fastai2.compat.no_progress import no_progress

AdamW = partial(OptimWrapper, opt=torch.optim.AdamW)


class NoValidation(Callback):
    def before_validate(self):
        raise CancelValidException


class NoOp(Callback):
    """fastai's own class, and nothing in it."""


def loop_of(arm):
    return patched_loop() if arm.startswith("patched") else nullcontext()


def callbacks_of(arm):
    return {"patched": [], "patched no-op": [NoOp()], "callback": [HFCallback()]}[arm.split(",")[0]]


# -- samples per second ----------------------------------------------------------------------------------------------


def data_of(rows, size, random, device="cpu", batch=BATCH, drawn=None):
    found, labels = texts(rows, size, drawn=drawn)
    frame = pd.DataFrame({"text": [*found, found[0]], "label": [*map(int, labels), 0]})
    loaders = text_data(
        frame[:rows],
        frame[rows:],
        tokenizer(size),
        text="text",
        labels="label",
        bs=batch,
        max_length=512 if drawn else LONGEST,
        device=torch.device(device),
        progress=False,
    )
    if random:
        loaders.train.shuffle_fn = lambda order: torch.randperm(len(order)).tolist()
    return loaders


def learner_of_texts(arm, size, rows, bf16=False, **where):
    loaders, net = data_of(rows, size, random="text_data" not in arm, **where), model(size)
    learn = Learner(
        loaders,
        HFModel(net, inputs=loaders.inputs),
        loss_func=nn.CrossEntropyLoss(),
        lr=LR,
        wd=WEIGHT_DECAY,
        opt_func=AdamW,
        cbs=[NoValidation(), *([] if arm.startswith("patched") else [HFCallback()])],
    )
    if arm.endswith("doctor"):
        learn.add_cb(Doctor(say=lambda text: None))
    return learn.to_bf16() if bf16 else learn, net


def epoch(arm, size, rows, seed=0, device="cpu", batch=BATCH, bf16=False, drawn=None):
    """Seconds of an epoch, and the tokens computed in it."""
    learn, net = learner_of_texts(arm, size, rows, bf16, device=device, batch=batch, drawn=drawn)
    counted = Counted(net)
    torch.manual_seed(seed)
    with no_progress(learn), loop_of(arm), CPU(device) as clock:
        learn.fit(1)
    return {
        "seconds": clock.seconds,
        "tokens": counted.tokens,
        "pairs": counted.pairs,
        "loss": float(learn.recorder.losses[-1]),
    }


def losses(arm, size, rows, device, bf16, deterministic):
    """The loss of each step, and a digest of the weights after the epoch."""
    torch.use_deterministic_algorithms(deterministic)
    try:
        learn, net = learner_of_texts(arm, size, rows, bf16, device=device)
        torch.manual_seed(0)
        with no_progress(learn), loop_of(arm):
            learn.fit(1)
    finally:
        torch.use_deterministic_algorithms(False)
    return {
        "losses": [float(loss) for loss in learn.recorder.losses],
        "weights": [float(p.detach().double().sum()) for p in net.parameters()],
    }


def device_of(device):
    """Its name, and how many bf16 operations per second a large matrix product reaches on it, on the spot."""
    side, times = (256, 2) if device == "cpu" else (8192, 30)
    a, b = (torch.randn(side, side, dtype=torch.bfloat16, device=device) for _ in range(2))
    a @ b
    with CPU(device) as clock:
        for _ in range(times):
            a @ b
    return {
        "name": "the CPU" if device == "cpu" else torch.cuda.get_device_name(0),
        "peak": 2 * side**3 * times / clock.seconds,
    }


# -- fixed costs, steps, the doctor ----------------------------------------------------------------------------------

learners = {}


class Ready(DataLoader):
    """Batches made beforehand; notes when each is asked for."""

    def __init__(self, batches):
        super().__init__(batches, bs=None)
        self.asked = []

    def __iter__(self):
        for batch in self.dataset:
            self.asked.append(time.process_time())
            yield batch


def batches_of(kind, number):
    """A nearly free model's, those of one with named inputs, or those of a model of a size."""
    if kind == "free":
        return free_batches(number)
    made = named_batches(number) if kind == "free, named" else hf_batches(kind, number)
    return [(*inputs, labels) for inputs, labels in made]


def net_of(kind):
    if kind == "free":
        return NearlyFree()
    net = NearlyFreeText() if kind == "free, named" else model(kind)
    return HFModel(net, ("input_ids", "attention_mask"), pad_token_id=0)


def learner_of(kind, arm, batches):
    loader = Ready(batches_of(kind, batches))
    loader.n_inp = len(loader.dataset[0]) - 1
    learn = Learner(
        DataLoaders(loader, loader),
        net_of(kind),
        loss_func=nn.CrossEntropyLoss(),
        cbs=[NoValidation(), *callbacks_of("callback" if arm == "doctor" else arm)],
    )
    if arm == "doctor":
        learn.add_cb(TimedDoctor.over(Doctor)(say=lambda text: None))
    return learn


def steps(kind, arm, batches):
    """Microseconds from one batch to the next, one figure per batch; and of those inside the doctor, a share."""
    learn = learners.setdefault((kind, arm, batches), None) or learner_of(kind, arm, batches)
    learners[kind, arm, batches] = learn
    asked = learn.dls.train.asked = []
    doctor = next((callback for callback in learn.cbs if isinstance(callback, Doctor)), None)
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
    net, data = big_outputs("transformers", returned)
    loaders = DataLoaders(*(DataLoader(data, bs=16, num_workers=0) for _ in range(2)))
    learn = Learner(loaders, net, loss_func=nn.CrossEntropyLoss(), cbs=callbacks_of(arm))
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
        ).train

    return feeding_seconds(make, rows, times)


if __name__ == "__main__":
    serve(
        {
            "epoch": epoch,
            "steps": steps,
            "peak_memory": peak_memory,
            "feeding": feeding,
            "batch": lambda: FREE_BATCH,
            "losses": losses,
            "device_of": device_of,
            "has_gpu": torch.cuda.is_available,
            "versions": lambda: versions("torch", "fastai", "transformers"),
        }
    )
