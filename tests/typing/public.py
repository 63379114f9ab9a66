"""What a type checker must see of the public names: read by mypy (``make types``), never run.

An ``ignore`` marks what must be refused; mypy reports one that is not needed.
"""

from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple, Union

import torch
from torch import Tensor, nn
from typing_extensions import assert_type

import fastai_hf_callback as bridge
from fastai_hf_callback import Comparison, Diagnosis, Finding, HFCallback, HFModel, Trace

bare = nn.Linear(2, 2)
tensor = torch.zeros(2, 2)

# -- the model and its output ----------------------------------------------------------------------------------

model = HFModel(bare, inputs=("input_ids", "attention_mask"), pad_token_id=0)
assert_type(model, HFModel)
assert_type(model.state_dict(), Dict[str, Tensor])
assert_type(bridge.unwrap((tensor,)), Union[Tensor, Tuple[Tensor, ...]])
assert_type(bridge.unwrap({"logits": tensor}, "logits"), Union[Tensor, Tuple[Tensor, ...]])
HFModel(bare, pad_token_id="0")  # type: ignore[arg-type]
bridge.unwrap(tensor, element=1.5)  # type: ignore[arg-type]

callback = HFCallback(element=0, check=False, keep_output=True)
assert_type(callback, HFCallback)
HFCallback(keeps=True)  # type: ignore[call-arg]

# -- metrics and layer groups ----------------------------------------------------------------------------------

assert_type(bridge.accuracy_thresh(tensor, tensor, thresh=0.25), Tensor)
assert_type(bridge.layer_groups(bare, 3), List[List[nn.Parameter]])
bridge.ConstantBaseline(0.5)  # type: ignore[arg-type]
bridge.layer_groups("bert")  # type: ignore[arg-type]

# -- comparing ---------------------------------------------------------------------------------------------------


def make_learner() -> Any: ...


comparison = bridge.compare(make_learner, fit=lambda learn: learn.fit_one_cycle(1), seed=1)
assert_type(comparison, Comparison)
assert_type(comparison.check(), Comparison)
assert_type(comparison.identical, bool)
assert_type(comparison.exit_code, int)
assert_type(comparison.to_json(), str)
bridge.compare(make_learner())
bridge.compare(make_learner, seed="1")  # type: ignore[arg-type]
with bridge.patched_loop(0) as nothing:
    assert_type(nothing, None)


def losses(trace: Trace) -> List[float]:
    return [step.loss for step in trace.steps]


# -- the doctor --------------------------------------------------------------------------------------------------

learn = make_learner()
diagnosis = bridge.diagnose(learn, batches=2)
assert_type(diagnosis, Diagnosis)
assert_type(diagnosis.healthy, bool)
assert_type(diagnosis.causes, List[str])
assert_type(diagnosis.at_least("warning"), List[Finding])
assert_type(bridge.Doctor().diagnosis, Optional[Diagnosis])
for finding in diagnosis.at_least("error"):
    assert_type(finding.cause, str)
    assert_type(finding.fix, str)
bridge.diagnose(learn, batches="two")  # type: ignore[arg-type]

# -- errors ------------------------------------------------------------------------------------------------------

try:
    bridge.unwrap(None)
except bridge.OutputError as error:
    caught: bridge.FastaiHFError = error
    assert_type(error.cause, str)

# -- texts -------------------------------------------------------------------------------------------------------

dls = bridge.text_data("train.csv", 0.2, None, text="text", labels=["toxic", "insult"], bs=16)
assert_type(dls.c, int)
assert_type(dls.classes, List[str])
HFModel(bare, inputs=dls.inputs)
bridge.text_data("train.csv", 0.2, None, text="text", labels="label", batch_size=16)  # type: ignore[call-arg]

with bridge.heal() as healed, bridge.trusted("export.pkl"):
    assert_type(healed, Tuple[str, ...])
metric: Callable[..., Any] = bridge.accuracy_thresh
names: Sequence[str] = bridge.__all__
missing = bridge.no_such_name  # type: ignore[attr-defined]
