#!/usr/bin/env bash
# fastai 2.8.12, torch 2.13.0 (Python 3.11, CPU): opt_func=ranger (RAdam in Lookahead) after SaveModelCallback put the
# best epoch's weights back, and with a layer frozen by requires_grad_(False).
#
# Expected: training goes on from the weights that the model has, and a frozen layer without gradients stays. Seen:
# Lookahead keeps its own slow copy from before, which neither is told; at the next sixth step it moves every weight
# halfway to that copy, without gradients and at a learning rate of 0. Adam and RAdam alone move nothing.
# learn.freeze() and unfreeze() do drop the copy.
#
#     bash findings/fastai-ranger-brings-old-weights-back.sh     # exits 1 where the behaviour is another
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "torch==2.13.0" "fastai==2.8.12" "fastcore==2.2.39"
cd "$folder"
venv/bin/python -W error::UserWarning - <<'PYTHON' | tee seen
import contextlib
import io

from fastai.basics import *
from fastai.callback.all import *

torch.manual_seed(0)
x = torch.randn(64, 4)
y = x.sum(1, keepdim=True)
# the validation set wants the opposite, so that the first epoch is the best one
dls = DataLoaders.from_dsets(list(zip(x, y)), list(zip(x, -y)), bs=8)


def learner(opt_func):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    learn = Learner(dls, model, loss_func=MSELossFlat(), opt_func=opt_func, metrics=[])
    learn.remove_cb(ProgressCallback)
    learn.logger = noop
    return learn


for name, opt_func in (("Adam", Adam), ("RAdam", RAdam), ("ranger", ranger)):
    learn = learner(opt_func)
    weight = learn.model[0].weight
    with contextlib.redirect_stdout(io.StringIO()):
        learn.fit(4, 1e-2, cbs=SaveModelCallback())
    best = weight.detach().clone()
    learn.fit(1, 0.0)
    moved_best = not torch.equal(weight, best)

    learn = learner(opt_func)
    weight = learn.model[0].weight
    learn.fit(2, 1e-2)  # 16 steps: Lookahead's last one was the twelfth
    learn.model[0].requires_grad_(False)
    for p in learn.model[0].parameters():
        p.grad = None
    frozen = weight.detach().clone()
    learn.fit(1, 1e-2)
    print(f"{name}: best weights {'moved' if moved_best else 'kept'} at a rate of 0,",
          f"frozen ones {'kept' if torch.equal(weight, frozen) else 'moved'}, gradient {weight.grad}")
PYTHON
diff seen - <<'SEEN' && echo "as seen with fastai 2.8.12"
Adam: best weights kept at a rate of 0, frozen ones kept, gradient None
RAdam: best weights kept at a rate of 0, frozen ones kept, gradient None
ranger: best weights moved at a rate of 0, frozen ones moved, gradient None
SEEN
