"""fp16 and bf16 on fastai 2: the callback arm equals the patched loop there too; on a GPU where there is one."""

import pytest
import torch

from fastai_hf_callback import compare, heal
from tests.fastai2.learners import loaders, make_learner

needs_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")


def fit(learn):
    learn.fit(1, 1e-3)


def dtype_inside(learn):
    """What the model's head computes in while ``fit`` runs."""
    seen = set()
    handle = learn.model.model.classifier.register_forward_hook(lambda module, inputs, output: seen.add(output.dtype))
    fit(learn)
    handle.remove()
    return seen


@pytest.mark.filterwarnings("ignore:User provided device_type of 'cuda'", "ignore:CUDA is not available")
def test_bf16_on_the_cpu_is_bf16_inside_heal_and_float32_without():
    assert dtype_inside(make_learner("bert").to_bf16()) == {torch.float32}
    with heal("bf16-on-cpu") as mended:
        assert dtype_inside(make_learner("bert").to_bf16()) == {torch.bfloat16}
    assert mended == ("bf16-on-cpu",)
    assert dtype_inside(make_learner("bert").to_bf16()) == {torch.float32}


def test_bf16_on_the_cpu_equals_the_patched_loop_bit_for_bit():
    with heal("bf16-on-cpu"):
        comparison = compare(lambda: make_learner("bert").to_bf16(), fit, progress=False)
    in_float32 = compare(lambda: make_learner("bert"), fit, arms=("callback",), progress=False)
    assert comparison.identical and comparison.broken_arm_differs, str(comparison)
    assert comparison.traces["callback"].steps[0].loss != in_float32.traces["callback"].steps[0].loss


@needs_a_gpu
@pytest.mark.parametrize("mode", ("to_fp16", "to_bf16"))
def test_on_a_gpu_the_arms_are_equal_or_two_patched_runs_are_not(mode):
    def make():
        learn = make_learner("bert")
        learn.dls = loaders(device=torch.device("cuda"))
        learn.model.cuda()
        return getattr(learn, mode)()

    comparison = compare(make, fit, progress=False)
    assert comparison.identical or comparison.noise is not None, str(comparison)
    assert comparison.broken_arm_differs
