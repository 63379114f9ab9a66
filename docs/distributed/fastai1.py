"""Train on as many processes as the launcher starts, on GPUs or on the CPU: docs/distributed.md.

torchrun --standalone --nproc-per-node 2 docs/distributed/fastai1.py comments.csv MODEL_FOLDER
"""

import os
import sys

import torch
from fastai.basic_train import Learner
from fastai.distributed import setup_distrib  # and to_distributed
from pytorch_transformers import BertForSequenceClassification, BertTokenizer

from fastai_hf_callback import (
    ColumnwiseAUC,
    Doctor,
    HFCallback,
    HFModel,
    accuracy_thresh,
    heal,
    ordered_preds,
    text_data,
)
from fastai_hf_callback.demo.comments import LABELS
from fastai_hf_callback.utils.distributed import rank

csv, folder = sys.argv[1:]
process = int(os.environ["LOCAL_RANK"])
if torch.cuda.is_available():
    setup_distrib(process)
else:
    torch.distributed.init_process_group("gloo", init_method="env://")
data = text_data(csv, 0.2, BertTokenizer.from_pretrained(folder), "comment_text", list(LABELS), bs=16, progress=False)
bert = BertForSequenceClassification.from_pretrained(folder, num_labels=data.c)
learn = Learner(
    data,
    HFModel(bert, inputs=data.inputs),
    metrics=[accuracy_thresh, ColumnwiseAUC()],
    callbacks=[HFCallback()],
    callback_fns=[Doctor],
).to_distributed(process)
with heal():
    learn.fit_one_cycle(2, 1e-3)
    learn.save("trained")  # process 0 alone writes
    preds, targets = ordered_preds(learn)  # all rows, in every process
if rank() == 0:
    print(f"{len(preds)} predictions, {int((targets > 0).sum())} labels; a fit over {len(data.train_ds)} texts")
torch.distributed.destroy_process_group()
