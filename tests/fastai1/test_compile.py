"""``learn.model.compile()``, in place: the same losses, and the checkpoint of a model that was not compiled."""

import subprocess
import sys
from pathlib import Path
from shutil import which

import pytest
import torch
from torch import nn

pytest.importorskip("fastai.basic_train")

from fastai_hf_callback.fastai1.compat.no_progress import no_progress
from fastai_hf_callback.utils.rng import seed_everything
from tests.fastai1.learners import make_learner

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]

if not hasattr(nn.Module, "compile"):
    pytest.skip("this torch compiles nothing", allow_module_level=True)


def losses_of(backend=None):
    seed_everything(0)
    learn = make_learner("bert")
    if backend:
        torch._dynamo.reset()
        learn.model.compile(backend=backend)
    seed_everything(1)
    with no_progress(learn):
        learn.fit(1, 1e-2)
    return learn, [float(loss) for loss in learn.recorder.losses]


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_losses_are_the_same_and_so_are_the_checkpoints_keys(backend, tmp_path):
    bare, expected = losses_of()
    compiled, losses = losses_of(backend)
    assert compiled.model._compiled_call_impl is not None and bare.model._compiled_call_impl is None
    assert losses == pytest.approx(expected, abs=1e-4) and len(losses) == 6
    assert list(compiled.model.state_dict()) == list(bare.model.state_dict())
    compiled.path = bare.path = tmp_path
    compiled.save("compiled", with_opt=False)
    bare.load("compiled", with_opt=False)
    for name, weight in compiled.model.state_dict().items():
        assert torch.equal(weight, bare.model.state_dict()[name]), name


def differences_under_inductor():
    """Loss by loss; Inductor draws dropout from a generator of its own, unless it is told to draw from torch's."""
    expected = losses_of()[1]
    with torch._inductor.config.patch(fallback_random=True, compile_threads=1):  # no processes that compile ahead
        return [abs(a - b) for a, b in zip(expected, losses_of(inductor_where_it_trains)[1])]


def inductor_where_it_trains(graph, inputs):
    """Compile forward and backward; validation, whose losses are not compared, would cost as much again."""
    from torch._inductor.compile_fx import compile_fx

    return compile_fx(graph, inputs) if torch.is_grad_enabled() else graph.forward


@pytest.mark.skipif(not (which("g++") or which("clang++")), reason="Inductor needs a C++ compiler")
def test_inductors_losses_are_the_same():
    """In a process of its own: Inductor asks for a distutils that others may have exchanged."""
    code = (
        "from tests.fastai1.test_compile import differences_under_inductor\n"
        "found = differences_under_inductor()\nprint(len(found), max(found))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], stdout=subprocess.PIPE, cwd=str(ROOT), check=True
    )
    steps, largest = done.stdout.decode().split()[-2:]
    assert int(steps) == 6 and float(largest) <= 1e-4


def test_a_model_wrapped_by_torch_compile_has_other_keys_and_so_is_not_what_we_advise():
    learn = make_learner("bert")
    keys = set(learn.model.state_dict())
    assert not keys & set(torch.compile(learn.model, backend="eager").state_dict())
