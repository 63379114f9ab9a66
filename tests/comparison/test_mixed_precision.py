"""fp16 and bf16: the callback arm equals the patched loop there too; on a GPU where there is one.

fastai 1 knows fp16 alone; bf16 is torch's own ``autocast`` around the fit there. On the CPU fastai 2's to_bf16 needs
``heal``.
"""

from contextlib import ExitStack

import pytest
import torch

pytest.importorskip("fastai")

from fastai_hf_callback import compare, heal
from tests.installed_fastai import FASTAI, make_learner, move_to_gpu, only_on

if FASTAI == 1:
    from fastai.train import to_fp16  # noqa: F401

needs_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
needs_autocast = pytest.mark.skipif(not hasattr(torch, "autocast"), reason="this torch has no bf16")


def fit(learn):
    learn.fit(1, 1e-3)


def fit_in_bf16(learn):
    """In bf16 on fastai 1; on fastai 2 the learner itself sees to it."""
    with ExitStack() as stack:
        if FASTAI == 1:
            device = next(learn.model.parameters()).device.type
            stack.enter_context(torch.autocast(device, dtype=torch.bfloat16))
        fit(learn)


def make_bf16_learner(prepare=lambda learn: learn):
    learn = prepare(make_learner("bert"))
    return learn if FASTAI == 1 else learn.to_bf16()


def dtype_inside(learn):
    """What the model's head computes in while ``fit`` runs."""
    seen = set()
    handle = learn.model.model.classifier.register_forward_hook(lambda module, inputs, output: seen.add(output.dtype))
    fit(learn)
    handle.remove()
    return seen


@only_on(2)
@pytest.mark.filterwarnings("ignore:User provided device_type of 'cuda'", "ignore:CUDA is not available")
def test_bf16_on_the_cpu_is_bf16_inside_heal_and_float32_without():
    assert dtype_inside(make_bf16_learner()) == {torch.float32}
    with heal("bf16-on-cpu") as mended:
        assert dtype_inside(make_bf16_learner()) == {torch.bfloat16}
    assert mended == ("bf16-on-cpu",)
    assert dtype_inside(make_bf16_learner()) == {torch.float32}


@only_on(2)
@pytest.mark.filterwarnings("ignore:User provided device_type of 'cuda'", "ignore:CUDA is not available")
@pytest.mark.parametrize("error", (KeyboardInterrupt, SystemExit, ValueError), ids=lambda kind: kind.__name__)
def test_heal_leaves_autocast_as_it_was_though_the_fit_was_interrupted(error):
    def interrupt(*args):
        raise error

    learn = make_bf16_learner()
    learn.model.model.classifier.register_forward_hook(interrupt)
    with pytest.raises(error), heal("bf16-on-cpu"):
        try:
            fit(learn)
        finally:
            assert torch.is_autocast_enabled("cpu"), "fastai has no event for this"
    assert not torch.is_autocast_enabled("cpu") and torch.autocast_increment_nesting() == 1
    assert torch.autocast_decrement_nesting() == 0


@only_on(2)
def test_heal_leaves_an_autocast_of_ones_own_on():
    with torch.autocast("cpu", dtype=torch.float16):
        with heal("bf16-on-cpu"):
            torch.set_autocast_enabled("cpu", False)
            torch.set_autocast_dtype("cpu", torch.bfloat16)
        assert torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.float16
    assert not torch.is_autocast_enabled("cpu")


@needs_autocast
def test_bf16_on_the_cpu_equals_the_patched_loop_bit_for_bit():
    with ExitStack() if FASTAI == 1 else heal("bf16-on-cpu"):
        comparison = compare(make_bf16_learner, fit_in_bf16, progress=False)
    in_float32 = compare(lambda: make_learner("bert"), fit, arms=("callback",), progress=False)
    assert comparison.identical and comparison.broken_arm_differs, str(comparison)
    assert comparison.traces["callback"].steps[0].loss != in_float32.traces["callback"].steps[0].loss


@needs_a_gpu
@pytest.mark.parametrize("mode", ("fp16", "bf16"))
def test_on_a_gpu_the_arms_are_equal_or_two_patched_runs_are_not(mode):
    def make():
        return make_bf16_learner(move_to_gpu) if mode == "bf16" else move_to_gpu(make_learner("bert")).to_fp16()

    comparison = compare(make, fit_in_bf16 if mode == "bf16" else fit, progress=False)
    assert comparison.identical or comparison.noise is not None, str(comparison)
    assert comparison.broken_arm_differs
