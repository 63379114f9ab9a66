#!/usr/bin/env bash
# fastai 1.0.61, torch 2.13.0 (Python 3.11, CPU): learn.freeze() and a fit with the default weight decay (.01).
#
# Expected: a frozen layer stays as it is. Seen: its weight does, and its bias shrinks at every step, though
# requires_grad is False and there never was a gradient: the list of parameters for the optimizer leaves frozen weights
# out and takes biases unasked, and OptimWrapper decays by itself what is in the list. Here 40 steps at a rate of .01
# take .4 % of it; every fit takes more. bn_wd=False, whose name speaks of BatchNorm, stops it, and so does wd=0.
#
#     bash findings/fastai1-decays-frozen-biases.sh     # exits 1 where the behaviour is another
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "fastai==1.0.61" "torch==2.13.0" "torchvision==0.28.0" "fastprogress==1.0.5" \
    "setuptools==80.10.2" "numpy==2.4.6" "pandas==3.1.1"
cd "$folder"
venv/bin/python - <<'PYTHON' | tee seen
import contextlib
import io

import torch
from fastai.basics import *

torch.manual_seed(0)
x = torch.randn(64, 4)
y = x.sum(1, keepdim=True)
data = DataBunch.create(TensorDataset(x, y), TensorDataset(x, y), bs=8, num_workers=0)


def show(what, **options):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Sequential(nn.Linear(4, 8), nn.ReLU()), nn.Sequential(nn.Linear(8, 1)))
    learn = Learner(data, model, loss_func=MSELossFlat(), **options).split(lambda m: (m[0], m[1]))
    learn.freeze()
    layer = model[0][0]
    weight, bias = layer.weight.detach().clone(), layer.bias.detach().clone()
    with contextlib.redirect_stdout(io.StringIO()):
        learn.fit(5, 1e-2)
    print(f"{what}: weight times {(layer.weight / weight).mean():.4f}, bias times {(layer.bias / bias).mean():.4f},",
          f"requires_grad {layer.bias.requires_grad}, gradient {layer.bias.grad}")


show("as it is")
show("bn_wd=False", bn_wd=False)
show("wd=0", wd=0.0)
PYTHON
diff seen - <<'SEEN' && echo "as seen with fastai 1.0.61"
as it is: weight times 1.0000, bias times 0.9960, requires_grad False, gradient None
bn_wd=False: weight times 1.0000, bias times 1.0000, requires_grad False, gradient None
wd=0: weight times 1.0000, bias times 1.0000, requires_grad False, gradient None
SEEN
