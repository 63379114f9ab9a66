"""Checks of the wiring: the callback alone unwraps the output, on every path."""

from dataclasses import replace
from typing import List, Optional

from fastai_hf_callback.results.evidence import Evidence, Wiring
from fastai_hf_callback.results.finding import Action, Finding
from fastai_hf_callback.results.probes import FAILED

from .failures import REASONS, build_finding

CAUSES = [
    "patch-left-active",
    "unwrapping-in-callback-fns",
    "unwrapping-in-training-only",
    "set-on-callback",
    "loss-only-shown",
    "output-not-unwrapped",
    "callback-class-not-instance",
    "callback-instance-in-callback-fns",
    "wrong-key-returned",
    "callback-raises",
    "class-instead-of-instance",
    "model-called-in-callback",
    "batch-not-split",
    "no-training-batches",
    "no-validation-loader",
    "registration",
    "inputs-missing",
    "inputs-unknown",
    "inputs-unnamed",
    "inputs-count",
    "wrong-inputs",
    "not-a-tensor",
    "ambiguous-output",
    "no-tensor-in-output",
    "only-a-loss",
    "loss-not-a-tensor",
    "bad-element",
    "vocabulary-too-large",
    "too-many-positions",
    "wrong-number-of-outputs",
    "padding-ids-disagree",
    "padded-in-front",
    "special-tokens-in-texts",
    "class-names-disagree",
    "mixup-of-token-ids",
    "token-outside-vocabulary",
    "text-longer-than-positions",
    "label-outside-range",
    "label-per-text-or-word",
    "target-dtype",
    "target-shape",
    "image-size",
    "padding-id-missing",
    "checkpoint-of-another-head",
    "saved-from-another-model",
    "attentions-not-given",
    "metric-of-two-classes",
    "kappa-without-weights",
    "accumulation-of-several-inputs",
    "rows-of-different-length",
    "device-mismatch",
    "dtype-mismatch",
    "out-of-memory",
    "ragged-numpy",
    "weights-only-load",
    "torchvision-and-torch-differ",
    "patch-active",
    "seen-in-the-last-fit",
]
EXPLAINED_BY = {"output-not-unwrapped": ("set-on-callback",)}


def check_train_path(evidence: Evidence) -> Optional[Finding]:
    """Check whether the training path raised."""
    if evidence.wiring is None or evidence.wiring.train_error is None:
        return None
    return _build_finding(evidence.wiring, evidence.wiring.train_error, evidence.wiring.train_message)


def check_valid_path(evidence: Evidence) -> Optional[Finding]:
    """Check whether the validation path raised and the training path did not."""
    wiring = evidence.wiring
    if wiring is None or wiring.valid_error is None:
        return None
    if wiring.only_in_callback_fns and not wiring.hf_callback and wiring.valid_error != wiring.train_error:
        names = ", ".join(wiring.only_in_callback_fns)
        return Finding(
            "unwrapping-in-callback-fns",
            "error",
            f"{names} changes the model's output from callback_fns, which fit and get_preds see and validate and "
            f"pred_batch do not: there the whole output reaches the loss ({wiring.valid_message}).",
            {"in callback_fns": names, "validation path": wiring.valid_message},
            action=Action("move-to-callbacks", note="and take it out of callback_fns"),
        )
    if wiring.only_in_training and wiring.train_error is None and wiring.valid_error == "output-not-unwrapped":
        names = ", ".join(wiring.only_in_training)
        return Finding(
            "unwrapping-in-training-only",
            "error",
            f"{names} changes the model's output and has run_valid=False: on validation batches, in validate and in "
            f"get_preds, the whole output reaches the loss ({wiring.valid_message}).",
            {"run_valid=False": names, "validation path": wiring.valid_message},
            action=Action("replace-training-callbacks", {"names": list(wiring.only_in_training)}),
        )
    if wiring.train_error is None and wiring.valid_error == "output-not-unwrapped" and evidence.stepping is not None:
        return Finding(
            "unwrapping-in-training-only",
            "error",
            f"The output is unwrapped in training steps and not on validation batches ({wiring.valid_message}).",
            {"training steps": evidence.stepping.steps, "validation path": wiring.valid_message},
            action=Action("build-with-callback", note="in place of what unwraps in training alone"),
        )
    return None if wiring.train_error is not None else _build_finding(wiring, wiring.valid_error, wiring.valid_message)


def _build_finding(wiring: Wiring, cause: str, message: Optional[str]) -> Finding:
    """Build a failure's finding; what the learner has already is no fix."""
    finding = build_finding(cause, message or "")
    if cause != "output-not-unwrapped" or not wiring.hf_callback:
        return finding
    fix = "unwrap(output) in what raised: HFCallback is among the callbacks already, and unwraps in fastai's loop alone"
    return replace(finding, fix=fix, action=None)


def check_failed_probes(evidence: Evidence) -> List[Finding]:
    """Check whether an object of the learner's own raised where neither path did: a loader, or a metric."""
    wiring = evidence.wiring
    if wiring is not None and (wiring.train_error or wiring.valid_error):
        return []  # what raises elsewhere follows from it
    failed = [probe for probe in evidence.probes.values() if probe.state == FAILED and probe.cause]
    return [  # our own errors, which have no reason in the catalogue, end in what to write
        build_finding(probe.cause, f"{probe.reason} ({probe.name})" if probe.cause in REASONS else probe.reason)
        for probe in failed
    ]


def check_set_on_callback(evidence: Evidence) -> Optional[Finding]:
    """Check whether a callback sets on itself what the loop reads from the learner."""
    if evidence.wiring is None or not evidence.wiring.set_on_itself:
        return None
    name, attribute = next(iter(evidence.wiring.set_on_itself.items()))
    failed = evidence.wiring.train_error is not None or evidence.wiring.valid_error is not None
    return Finding(
        "set-on-callback",
        "error" if failed else "warning",
        f"{name} sets self.{attribute}, which is an attribute of the callback: fastai's loop goes on with "
        f"learn.{attribute}, which is another.",
        {"sets on itself": [f"{callback}.{value}" for callback, value in evidence.wiring.set_on_itself.items()]},
        action=Action("set-on-learner", {"callback": name, "attribute": attribute}),
    )


def check_loss_only_shown(evidence: Evidence) -> Optional[Finding]:
    """Check whether a callback changes the loss that is shown, and not the one that is propagated."""
    if evidence.wiring is None or not evidence.wiring.loss_only_shown:
        return None
    names = ", ".join(evidence.wiring.loss_only_shown)
    return Finding(
        "loss-only-shown",
        "warning",
        f"{names} changes learn.loss in after_loss and leaves learn.loss_grad as it was: the loss that is "
        f"shown changes, backward() starts from the other one.",
        {"callbacks": evidence.wiring.loss_only_shown},
        action=Action("set-propagated-loss"),
    )


def check_patch_left_active(evidence: Evidence) -> Optional[Finding]:
    """Check whether other code has replaced the loop."""
    if evidence.wiring is None or evidence.wiring.patch is None:
        return None
    harmful = (
        evidence.wiring.train_error
        or evidence.wiring.valid_error
        or evidence.graph is not None
        and evidence.graph.trainable
        and not evidence.graph.reached
        and not evidence.graph.opaque
        or evidence.stepping is not None
        and 0 < evidence.stepping.steps <= max(evidence.stepping.skipped_steps, evidence.stepping.skipped_backwards)
        or evidence.outputs is not None
        and len(evidence.outputs.shape) < 2
        and evidence.outputs.target_shape
        and evidence.outputs.shape[:1] != evidence.outputs.target_shape[:1]
    )
    return Finding(
        "patch-left-active",
        "error" if harmful else "warning",
        f"fastai's own training step is replaced by {evidence.wiring.patch}: every Learner of this process runs that "
        f"code{', and HFCallback has nothing to unwrap' if evidence.wiring.hf_callback else ''}.",
        {"patch": evidence.wiring.patch},
        action=Action("restore-loop"),
    )


def check_seen_in_last_fit(evidence: Evidence) -> Optional[Finding]:
    """Check, after all others, what ``Doctor`` saw in the last fit and nothing shows any more."""
    seen = evidence.watched or []
    if not seen:
        return None
    return Finding(
        "seen-in-the-last-fit",
        "note",
        f"Doctor watched the last fit and named {', '.join(seen)}; nothing of that is to be seen now: it has been "
        f"mended since, or shows only while a fit runs.",
        {"seen by Doctor": seen},
        "print(learn.doctor.diagnosis)  # what it saw; and fit again under Doctor() once it is mended",
    )


CHECKS = [
    check_train_path,
    check_valid_path,
    check_failed_probes,
    check_set_on_callback,
    check_loss_only_shown,
    check_patch_left_active,
    check_seen_in_last_fit,
]
