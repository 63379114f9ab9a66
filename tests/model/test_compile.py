"""``HFModel`` under ``torch.compile``: it breaks no graph that the bare model does not, and needs no more of them."""

import pytest
import torch
from torch import nn

from fastai_hf_callback import HFModel
from tests.installed_stack import is_installed
from tests.tiny_models import ids, tiny_model

pytestmark = pytest.mark.slow

if not hasattr(nn.Module, "compile"):
    pytest.skip("this torch compiles nothing", allow_module_level=True)

NAME = "bert of transformers 5" if is_installed("transformers") else "bert"
LENGTHS = (8, 11, 6, 14, 9)


class Bare(nn.Module):
    """The bare model, called by name."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask):
        return self.model(input_ids=input_ids, attention_mask=attention_mask)


class Breaking(HFModel):
    """The broken arm: what Python alone can do, between the inputs and the model."""

    def forward(self, *batch):
        torch._dynamo.graph_break()
        return super().forward(*batch)


def graphs_of(model):
    """How many graphs are compiled for texts of five lengths, and how often one was cut."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    compiled = []
    run = torch.compile(model, backend=lambda graph, inputs: compiled.append(graph) or graph.forward)
    outputs = []
    for length in LENGTHS:
        torch.manual_seed(length)
        words = ids(3, length)
        outputs.append(run(words, torch.ones_like(words))[0])
    return len(compiled), sum(torch._dynamo.utils.counters["graph_break"].values()), outputs


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return tiny_model(NAME, 3).eval()


@pytest.fixture(scope="module")
def bare(model):
    return graphs_of(Bare(model))


def test_it_adds_no_graph_and_no_break(model, bare):
    graphs, breaks, outputs = graphs_of(HFModel(model, inputs=("input_ids", "attention_mask")))
    assert (graphs, breaks) == bare[:2]
    assert all(torch.equal(one, other) for one, other in zip(outputs, bare[2]))


def test_and_one_that_did_would_be_seen(model, bare):
    _graphs, breaks, _ = graphs_of(Breaking(model, inputs=("input_ids", "attention_mask")))
    assert breaks > bare[1]
