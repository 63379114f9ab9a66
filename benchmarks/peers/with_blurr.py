"""blurr's own way on fastai 2.7: its TextBlock, batches tokenised as they are made, its wrapper and callback."""

from functools import partial

import pandas as pd
import torch
from blurr.text.data.core import TextBlock
from blurr.text.modeling.core import BaseModelCallback, BaseModelWrapper
from fastai.callback.core import Callback, CancelValidException
from fastai.data.block import CategoryBlock, ColReader, DataBlock, IndexSplitter
from fastai.learner import Learner
from fastai.losses import CrossEntropyLossFlat
from fastai.optimizer import OptimWrapper
from serving import CPU, serve, versions
from workload import BATCH, LONGEST, LR, WEIGHT_DECAY, Counted, model, texts, tokenizer


class NoValidation(Callback):
    def before_validate(self):
        raise CancelValidException


def epoch(size, rows, seed=0, device="cpu"):
    """Seconds of an epoch, and the tokens computed in it."""
    found, labels = texts(rows, size)
    net, own = model(size), tokenizer(size)
    frame = pd.DataFrame({"text": found, "label": labels}).iloc[[*range(rows), 0]]  # the last one to validate
    block = TextBlock("bert", net.config, own, net, include_labels=False, max_length=LONGEST)
    blocks = DataBlock(
        (block, CategoryBlock), get_x=ColReader("text"), get_y=ColReader("label"), splitter=IndexSplitter([rows])
    )
    torch.manual_seed(seed)
    loaders = blocks.dataloaders(frame, bs=BATCH, val_bs=1, num_workers=0, device=torch.device(device), drop_last=False)
    learn = Learner(
        loaders,
        BaseModelWrapper(net),
        loss_func=CrossEntropyLossFlat(),
        lr=LR,
        wd=WEIGHT_DECAY,
        opt_func=partial(OptimWrapper, opt=torch.optim.AdamW),
        cbs=[BaseModelCallback, NoValidation],
    )
    counted = Counted(net)
    with learn.no_bar(), learn.no_logging(), CPU(device) as clock:
        learn.fit(1)
    return {"seconds": clock.seconds, "tokens": counted.tokens, "loss": float(learn.recorder.losses[-1])}


if __name__ == "__main__":
    serve({"epoch": epoch, "versions": lambda: versions("torch", "fastai", "ohmeow-blurr", "transformers")})
