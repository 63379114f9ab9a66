"""fp16 and bf16 on fastai 1: the callback arm equals the patched loop there too; on a GPU where there is one.
fastai 1 knows fp16 alone; bf16 is torch's own ``autocast`` around the fit.
"""

import pytest
import torch

pytest.importorskip("fastai.basic_train")

from fastai.train import to_fp16  # noqa: F401

from fastai_hf_callback import compare
from tests.fastai1.learners import databunch, make_learner

needs_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
needs_autocast = pytest.mark.skipif(not hasattr(torch, "autocast"), reason="this torch has no bf16")


def fit(learn):
    learn.fit(1, 1e-3)


def fit_in_bf16(learn):
    with torch.autocast(next(learn.model.parameters()).device.type, dtype=torch.bfloat16):
        learn.fit(1, 1e-3)


@needs_autocast
def test_bf16_on_the_cpu_equals_the_patched_loop_bit_for_bit():
    comparison = compare(lambda: make_learner("bert"), fit_in_bf16, progress=False)
    in_float32 = compare(lambda: make_learner("bert"), fit, arms=("callback",), progress=False)
    assert comparison.identical and comparison.broken_arm_differs, str(comparison)
    assert comparison.traces["callback"].steps[0].loss != in_float32.traces["callback"].steps[0].loss


@needs_a_gpu
@pytest.mark.parametrize("mode", ("fp16", "bf16"))
def test_on_a_gpu_the_arms_are_equal_or_two_patched_runs_are_not(mode):
    def make():
        learn = make_learner("bert")
        learn.data = databunch(device=torch.device("cuda"))
        learn.model.cuda()
        return learn.to_fp16() if mode == "fp16" else learn

    comparison = compare(make, fit if mode == "fp16" else fit_in_bf16, progress=False)
    assert comparison.identical or comparison.noise is not None, str(comparison)
    assert comparison.broken_arm_differs
