"""Is the output unwrapped where every path sees it, by the callback and by nothing else?"""
from typing import Optional

from fastai_hf_callback.results.evidence import Evidence
from fastai_hf_callback.diagnosis.failures import finding_for
from fastai_hf_callback.results.finding import Finding

CAUSES = ["patch-left-active", "unwrapping-in-callback-fns", "unwrapping-in-training-only", "set-on-callback",
          "loss-only-shown", "output-not-unwrapped", "callback-class-not-instance",
          "callback-instance-in-callback-fns", "wrong-key-returned",
          "class-instead-of-instance", "registration", "inputs-missing", "inputs-unknown", "inputs-unnamed",
          "inputs-count", "wrong-inputs", "not-a-tensor", "ambiguous-output", "no-tensor-in-output", "only-a-loss",
          "bad-element", "vocabulary-too-large", "too-many-positions", "wrong-number-of-outputs", "no-padding-id",
          "mixup-of-token-ids", "token-outside-vocabulary", "text-longer-than-positions", "label-outside-range",
          "label-per-text-or-word",
          "target-dtype", "target-shape", "rows-of-different-length", "device-mismatch", "dtype-mismatch",
          "out-of-memory", "ragged-numpy", "weights-only-load", "torchvision-and-torch-differ",
          "patch-active"]
EXPLAINED_BY = {"output-not-unwrapped": ("set-on-callback",)}


def train_path(seen: Evidence) -> Optional[Finding]:
    """The training path raised."""
    if seen.wiring is None or seen.wiring.train_error is None:
        return None
    return finding_for(seen.wiring.train_error, seen.wiring.train_said or "")


def valid_path(seen: Evidence) -> Optional[Finding]:
    """The validation path raised, and the training path did not."""
    wiring = seen.wiring
    if wiring is None or wiring.valid_error is None:
        return None
    if wiring.only_in_callback_fns and not wiring.hf_callback and wiring.valid_error != wiring.train_error:
        names = ", ".join(wiring.only_in_callback_fns)
        return Finding(
            "unwrapping-in-callback-fns", "error",
            f"{names} changes the model's output from callback_fns, which fit and get_preds see and validate and "
            f"pred_batch do not: there the whole output reaches the loss ({wiring.valid_said}).",
            {"in callback_fns": names, "validation path": wiring.valid_said},
            "Learner(..., callbacks=[HFCallback()])  # and take it out of callback_fns")
    if wiring.only_in_training and wiring.train_error is None and wiring.valid_error == "output-not-unwrapped":
        names = ", ".join(wiring.only_in_training)
        return Finding(
            "unwrapping-in-training-only", "error",
            f"{names} changes the model's output and has run_valid=False: on validation batches, in validate and in "
            f"get_preds, the whole output reaches the loss ({wiring.valid_said}).",
            {"run_valid=False": names, "validation path": wiring.valid_said},
            "Learner(..., cbs=[HFCallback()])  # in place of it; or leave run_valid at True")
    if wiring.train_error is None and wiring.valid_error == "output-not-unwrapped" and seen.stepping is not None:
        return Finding(
            "unwrapping-in-training-only", "error",
            f"The output is unwrapped in training steps and not on validation batches ({wiring.valid_said}).",
            {"training steps": seen.stepping.steps, "validation path": wiring.valid_said},
            "Learner(..., callbacks=[HFCallback()])  # in place of what unwraps in training alone")
    return None if wiring.train_error is not None else finding_for(wiring.valid_error, wiring.valid_said or "")


def set_on_itself(seen: Evidence) -> Optional[Finding]:
    """A callback sets what the loop reads, and sets it on itself."""
    if seen.wiring is None or not seen.wiring.set_on_itself:
        return None
    name, attribute = next(iter(seen.wiring.set_on_itself.items()))
    failed = seen.wiring.train_error is not None or seen.wiring.valid_error is not None
    return Finding("set-on-callback", "error" if failed else "warning",
                   f"{name} sets self.{attribute}, which is an attribute of the callback: fastai's loop goes on with "
                   f"learn.{attribute}, which is another.",
                   {"sets on itself": [f"{who}.{what}" for who, what in seen.wiring.set_on_itself.items()]},
                   f"self.learn.{attribute} = ...  # in {name}, in place of self.{attribute} = ...")


def loss_only_shown(seen: Evidence) -> Optional[Finding]:
    """A callback changes the loss that is shown, and not the one that is propagated."""
    if seen.wiring is None or not seen.wiring.loss_only_shown:
        return None
    names = ", ".join(seen.wiring.loss_only_shown)
    return Finding("loss-only-shown", "warning",
                   f"{names} changes learn.loss in after_loss and leaves learn.loss_grad as it was: the loss that is "
                   f"shown changes, backward() starts from the other one.",
                   {"who": seen.wiring.loss_only_shown}, "self.learn.loss_grad = ...  # and learn.loss, to show it")


def patch_left(seen: Evidence) -> Optional[Finding]:
    """Somebody's code stands in the loop's place."""
    if seen.wiring is None or seen.wiring.patch is None:
        return None
    harmful = (seen.wiring.train_error or seen.wiring.valid_error
               or seen.graph is not None and seen.graph.trainable and not seen.graph.reached and not seen.graph.opaque
               or seen.stepping is not None and 0 < seen.stepping.steps <= max(seen.stepping.skipped_steps,
                                                                               seen.stepping.skipped_backwards)
               or seen.outputs is not None and len(seen.outputs.shape) < 2 and seen.outputs.target_shape
               and seen.outputs.shape[:1] != seen.outputs.target_shape[:1])
    return Finding(
        "patch-left-active", "error" if harmful else "warning",
        f"fastai's loss_batch is replaced by {seen.wiring.patch}: every Learner of this process runs that code"
        f"{', and HFCallback has nothing to unwrap' if seen.wiring.hf_callback else ''}.",
        {"patch": seen.wiring.patch}, "finding.apply(learn)  # fastai's own loop again, and HFCallback() where none "
        "unwraps; or restart the kernel without the patch")


CHECKS = [train_path, valid_path, set_on_itself, loss_only_shown, patch_left]
