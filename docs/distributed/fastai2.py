"""Train on as many processes as the launcher starts, on GPUs or on the CPU: docs/distributed.md.

torchrun --standalone --nproc-per-node 2 docs/distributed/fastai2.py comments.csv MODEL_FOLDER
"""

import sys

import fastai.callback.schedule  # fit_one_cycle
import fastai.distributed  # noqa: F401  distrib_ctx
import torch
from fastai.learner import Learner
from fastai.metrics import accuracy_multi
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from fastai_hf_callback import ColumnwiseAUC, Doctor, HFCallback, HFModel, ordered_preds, text_data
from fastai_hf_callback.demo.comments import LABELS
from fastai_hf_callback.utils.distributed import rank

csv, folder = sys.argv[1:]
dls = text_data(csv, 0.2, AutoTokenizer.from_pretrained(folder), "comment_text", list(LABELS), bs=16, progress=False)
bert = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=dls.c)
learn = Learner(
    dls, HFModel(bert, inputs=dls.inputs), metrics=[accuracy_multi, ColumnwiseAUC()], cbs=[HFCallback(), Doctor()]
)
with learn.distrib_ctx(cpu=not torch.cuda.is_available()):
    learn.fit_one_cycle(2, 1e-3)
    learn.save("trained")  # process 0 alone writes
    preds, targets = ordered_preds(learn)  # all rows, in every process
if rank() == 0:
    print(f"{len(preds)} predictions, {int((targets > 0).sum())} labels; a fit over {len(dls.train_ds)} texts")
torch.distributed.destroy_process_group()
