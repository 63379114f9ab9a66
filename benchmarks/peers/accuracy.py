"""What a model learns from batches of like length, and what from random ones: fastai 2, a small BERT from scratch."""

import numpy as np
import pandas as pd
import torch
from fastai.callback.schedule import fit_one_cycle  # noqa: F401  it puts the method on Learner
from fastai.learner import Learner
from fastai.metrics import accuracy as share_right
from serving import serve, versions
from tokenising import tokenizer
from workload import BATCH, Counted, model

from fastai_hf_callback import HFCallback, HFModel, text_data
from fastai_hf_callback.demo.comments import make_comments
from fastai_hf_callback.fastai2.compat.no_progress import no_progress
from fastai_hf_callback.utils.rng import seed_everything

MAX_LEN, LR = 120, 1e-3
made = {}


def frame_of(rows, path, text, label):
    """A CSV's texts; or bundled comments, half of them rude, which a constant predictor cannot tell."""
    if path is not None:
        found = pd.read_csv(path)
        found = found[[text, label]].rename(columns={text: "text", label: "label"})
        return found.sample(min(rows, len(found)), random_state=0).reset_index(drop=True)
    every = make_comments(20_000)
    rude, others = ([one.text for one in every if one.labels[0] == wanted][: rows // 2] for wanted in (1, 0))
    both = pd.DataFrame({"text": rude + others, "label": [1] * len(rude) + [0] * len(others)})
    return both.sample(frac=1, random_state=0).reset_index(drop=True)


def prepared(rows, path, text, label):
    if not made:
        frame = frame_of(rows, path, text, label)
        own = tokenizer(frame["text"].tolist())
        cut = len(frame) * 4 // 5
        made.update(
            cut=cut,
            frame=frame,
            loaders=text_data(
                frame[:cut],
                frame[cut:],
                own,
                text="text",
                labels="label",
                bs=BATCH,
                max_length=MAX_LEN,
                device=torch.device("cpu"),
                progress=False,
            ),
        )
    return made["loaders"]


def accuracy(arm, seed, rows, epochs, path=None, text="text", label="label"):
    """Of the validation rows, after training; and tokens computed per real token while training."""
    loaders = prepared(rows, path, text, label)
    loaders.train.__dict__.pop("shuffle_fn", None)
    if arm == "random batches":
        loaders.train.shuffle_fn = lambda order: torch.randperm(len(order)).tolist()
    net = model("small", outputs=loaders.c, seed=seed, vocab_size=8000)
    learn = Learner(loaders, HFModel(net, inputs=loaders.inputs), metrics=[share_right], cbs=[HFCallback()])
    counted = Counted(net)
    seed_everything(seed)
    with no_progress(learn):
        learn.fit_one_cycle(epochs, LR)
        validated = epochs * padded(loaders.valid)
        trained = counted.tokens - validated
        right = float(learn.recorder.values[-1][-1])
    return {"accuracy": right, "share": trained / (epochs * int(np.sum(loaders.train_ds.lengths)))}


def padded(loader):
    return sum(batch[0].numel() for batch in loader)


def about(rows, epochs, path=None, text="text", label="label"):
    loaders = prepared(rows, path, text, label)
    valid = made["frame"]["label"][made["cut"] :]
    what = f"`{path.rpartition('/')[2]}`" if path else "bundled comments, rude or not, half of each"
    return {
        "what": what,
        "train": made["cut"],
        "valid": len(valid),
        "epochs": epochs,
        "lr": LR,
        "model": "a BERT of two layers, 128 wide, from scratch",
        "classes": loaders.c,
        "base": float(valid.value_counts(normalize=True).max()),
    }


if __name__ == "__main__":
    serve({"accuracy": accuracy, "about": about, "versions": lambda: versions("torch", "fastai", "transformers")})
