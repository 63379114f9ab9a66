"""Imported once, by the process that all others are forked from: what every model needs is loaded then."""

import torch

from tests.models.model_check import build

torch.set_num_threads(1)
build("BertForSequenceClassification")
