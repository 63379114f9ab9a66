"""Imported once, by the process that all others are forked from: what every cell needs is loaded then."""

import os

os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")

import torch
import transformers

import tests.today.run_cell  # noqa: F401  fastai, peft and the package with it

torch.set_num_threads(1)
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
