"""Every check on the evidence it is for, and on the nearest evidence that is healthy.

Where a check fires, one changed figure at a time must silence it: the limits are tried on both sides. What the table
calls ``silent`` is laid over what ``fires``.
"""

from collections import Counter, namedtuple

import pytest

from fastai_hf_callback.diagnosis import checks
from fastai_hf_callback.diagnosis.checks import (
    gradient,
    inputs,
    labels,
    metrics,
    numeric,
    optimizer,
    outputs,
    pairing,
    precision,
    step_size,
    substitution,
    weights,
    wiring,
)
from fastai_hf_callback.diagnosis.checks.failures import REASONS
from fastai_hf_callback.results.evidence import Evidence
from fastai_hf_callback.results.finding import SEVERITIES, Action, Finding
from fastai_hf_callback.results.probes import FAILED, NOT_MADE
from fastai_hf_callback.results.substitution import PlantedRun, ReplaceablePart, Substitution
from tests.recorded_evidence import PARTS, evidence_with, healthy, with_outcome

Case = namedtuple("Case", "check cause severity figures fires silent")

RISING = [0.9, 0.9, 0.95, 1.0, 1.0, 1.05, 1.1, 1.1]  # losses

NAN, INF = float("nan"), float("inf")

OWN, CURED = PlantedRun([], score=0.22, gap=0.0, steps=120), PlantedRun(["callback `Zero`"], score=1.0, gap=1.2)
REPLACED = ReplaceablePart("callback", "callback `Zero`", "train.py, line 41", "left out")


def substituted(*found, **figures):
    return Substitution("two words tell the class", found=list(found), **{"own": OWN, "cured": CURED, **figures})


STANDING = dict(history__losses=[1.1] * 24, loss__first=1.1)
ONE_OUTPUT = dict(
    outputs__spread=1.4e-4,
    outputs__spread_of_new_weights=0.01,
    weights__distance=0.1,
    hyper__lr=0.03,
    hyper__scales_with_gradient=False,
)

SUMMED = {**ONE_OUTPUT, "hyper__scales_with_gradient": True, "loss__growth_with_rows": 2.0}
UNLEARNED_RISE = dict(
    history__losses=[1.1] * 24,
    history__metrics={"valid_loss": [1.1]},
    loss__constant_all_targets=1.09,
    hyper__rises_to_the_end=True,
)

CASES = [
    # -- wiring ----------------------------------------------------------------------------------------------------
    Case(
        wiring.check_train_path,
        "output-not-unwrapped",
        "error",
        ["not tuple"],
        dict(wiring__train_error="output-not-unwrapped", wiring__train_message="must be Tensor, not tuple"),
        [dict(wiring__train_error=None), dict(wiring=None)],
    ),
    Case(
        wiring.check_valid_path,
        "target-shape",
        "error",
        ["sizes 3 and 4"],
        dict(wiring__valid_error="target-shape", wiring__valid_message="sizes 3 and 4"),
        [dict(wiring__valid_error=None), dict(wiring__train_error="target-shape"), dict(wiring=None)],
    ),
    Case(
        wiring.check_failed_probes,
        "batch-not-split",
        "error",
        ["a dict was given"],
        dict(probes=with_outcome("training batches", FAILED, "a dict was given", cause="batch-not-split")),
        [
            dict(probes=with_outcome("training batches", NOT_MADE, "odd")),
            dict(probes=with_outcome("outputs", FAILED, "odd")),
        ],
    ),
    Case(
        wiring.check_valid_path,
        "unwrapping-in-callback-fns",
        "error",
        ["Unwrap, Other", "not tuple"],
        dict(
            wiring__only_in_callback_fns=["Unwrap", "Other"],
            wiring__hf_callback=False,
            wiring__valid_error="output-not-unwrapped",
            wiring__valid_message="must be Tensor, not tuple",
        ),
        [dict(wiring__valid_error=None)],
    ),
    Case(
        wiring.check_valid_path,
        "unwrapping-in-training-only",
        "error",
        ["Unwrap, Other", "run_valid=False", "not tuple"],
        dict(
            wiring__only_in_training=["Unwrap", "Other"],
            wiring__valid_error="output-not-unwrapped",
            wiring__valid_message="must be Tensor, not tuple",
        ),
        [dict(wiring__valid_error=None), dict(wiring=None)],
    ),
    Case(
        wiring.check_valid_path,
        "unwrapping-in-training-only",
        "error",
        ["not on validation batches", "not tuple"],
        dict(wiring__valid_error="output-not-unwrapped", wiring__valid_message="must be Tensor, not tuple"),
        [dict(wiring__valid_error=None), dict(wiring=None)],
    ),
    Case(
        wiring.check_set_on_callback,
        "set-on-callback",
        "warning",
        ["Mine sets self.pred", "learn.pred"],
        dict(wiring__set_on_itself={"Mine": "pred"}),
        [dict(wiring__set_on_itself={}), dict(wiring=None)],
    ),
    Case(
        wiring.check_set_on_callback,
        "set-on-callback",
        "error",
        [],
        dict(wiring__set_on_itself={"Mine": "pred"}, wiring__train_error="output-not-unwrapped"),
        [dict(wiring__set_on_itself={})],
    ),
    Case(
        wiring.check_set_on_callback,
        "set-on-callback",
        "error",
        [],
        dict(wiring__set_on_itself={"Mine": "pred"}, wiring__valid_error="output-not-unwrapped"),
        [dict(wiring__set_on_itself={})],
    ),
    Case(
        wiring.check_loss_only_shown,
        "loss-only-shown",
        "warning",
        ["Mine, Yours", "learn.loss_grad"],
        dict(wiring__loss_only_shown=["Mine", "Yours"]),
        [dict(wiring__loss_only_shown=[]), dict(wiring=None)],
    ),
    Case(
        wiring.check_patch_left_active,
        "patch-left-active",
        "warning",
        ["loss_batch in cell 3", "nothing to unwrap"],
        dict(wiring__patch="loss_batch in cell 3"),
        [dict(wiring__patch=None), dict(wiring=None)],
    ),
    Case(
        wiring.check_patch_left_active,
        "patch-left-active",
        "error",
        [],
        dict(wiring__patch="loss_batch", wiring__train_error="target-shape"),
        [dict(wiring__patch=None)],
    ),
    Case(
        wiring.check_patch_left_active,
        "patch-left-active",
        "error",
        [],
        dict(wiring__patch="loss_batch", graph__reached=0),
        [dict(wiring__patch=None)],
    ),
    Case(
        wiring.check_patch_left_active,
        "patch-left-active",
        "error",
        [],
        dict(wiring__patch="loss_batch", stepping__skipped_backwards=4),
        [dict(wiring__patch=None)],
    ),
    Case(
        wiring.check_patch_left_active,
        "patch-left-active",
        "error",
        [],
        dict(wiring__patch="loss_batch", outputs__shape=(3,)),
        [dict(wiring__patch=None)],
    ),
    Case(
        wiring.check_seen_in_last_fit,
        "seen-in-the-last-fit",
        "note",
        ["named gradients-never-zeroed, step-skipped"],
        dict(watched=["gradients-never-zeroed", "step-skipped"]),
        [dict(watched=[]), dict(watched=None)],
    ),
    # -- weights ---------------------------------------------------------------------------------------------------
    Case(
        weights.check_non_finite_weights,
        "non-finite-weights",
        "error",
        ["3 of 40", "a, b, c)"],
        dict(weights__non_finite=3, weights__non_finite_names=["a", "b", "c", "d"]),
        [dict(weights__non_finite=0), dict(weights=None)],
    ),
    Case(
        weights.check_weights_diverged,
        "weights-diverged",
        "error",
        ["15 times", "0.5 over 8 rows", "size of 1.5"],
        dict(weights__gain=15.0),
        [dict(weights__gain=14.99), dict(weights__gain=None), dict(outputs=None)],
    ),
    Case(
        weights.check_weights_diverged,
        "weights-diverged",
        "error",
        ["6 times"],
        dict(weights__gain=6.0, outputs__spread=1.5e-4),
        [dict(weights__gain=5.99), dict(outputs__spread=1.6e-4)],
    ),
    Case(
        weights.check_weights_diverged,
        "weights-diverged",
        "error",
        [],
        dict(weights__gain=6.0, loss__first=1.37),
        [dict(loss__first=1.35), dict(loss=None), dict(loss__constant=None), dict(loss__first=None)],
    ),
    Case(
        weights.check_weights_diverged,
        "weights-diverged",
        "error",
        [],
        dict(weights__gain=6.0, outputs__changes_with_tokens=0.009),
        [dict(outputs__changes_with_tokens=0.01), dict(outputs__changes_with_tokens=None)],
    ),
    Case(
        weights.check_weights_diverged,
        "weights-diverged",
        "error",
        ["all 8 rows one output", "learning rate did it: 0.03", "moves a weight by about that"],
        ONE_OUTPUT,
        [
            dict(outputs__spread=1.6e-4),
            dict(outputs__spread_of_new_weights=0.0099),  # nothing tells these rows apart
            dict(outputs__spread_of_new_weights=None),
            dict(weights__distance=0.09),
            dict(weights__body_at_init=True),
            dict(history=None),
            dict(labels__train_constant=True),
            dict(loss__first=0.1, loss__constant=0.001, loss__constant_all_targets=1.1),  # rows of one target
            dict(outputs__before_fit=True, history__losses=[1.1] * 8 + [0.9] * 8),  # it has learned since
            dict(
                outputs__before_fit=True,
                history__losses=[1.1] * 8,
                probes=with_outcome("the last fit", NOT_MADE, "it has not ended"),  # it may yet
            ),
        ],
    ),
    Case(  # the fit goes on from there, and gets nowhere
        weights.check_weights_diverged,
        "weights-diverged",
        "error",
        ["all 8 rows one output"],
        {
            **ONE_OUTPUT,
            "outputs__before_fit": True,
            "history__losses": [1.1] * 20,
            "probes": with_outcome("the last fit", NOT_MADE, "it has not ended"),
        },
        [dict(history__losses=[1.1] * 19)],
    ),
    # Nobody has kept where the fits began: it may be a model made new, which stands there for epochs.
    Case(
        weights.check_weights_diverged,
        "weights-diverged",
        "warning",
        ["may be ruined", "all 8 rows one output"],
        {**ONE_OUTPUT, "weights__distance": None},
        [dict(outputs__spread=1.6e-4)],
    ),
    Case(
        weights.check_weights_diverged,
        "weights-diverged",
        "error",
        ["what it knew is gone", "1 times their own size"],
        dict(weights__body_at_init=False, weights__distance=1.0, history__losses=[1.1] * 8, loss__first=1.1),
        [
            dict(weights__body_at_init=True),
            dict(weights__distance=0.99),
            dict(weights__distance=None),
            dict(weights__body_trainable=False),
            dict(loss__constant_all_targets=1.2),
            dict(history__losses=[1.0] * 8),
            dict(loss__first=1.0),
        ],
    ),
    Case(
        weights.check_non_finite_state,
        "non-finite-optimizer-state",
        "error",
        ["2 parameters", "learning rate did it: 3e-05"],
        dict(weights__non_finite_state=2),
        [dict(weights__non_finite_state=0), dict(weights=None)],
    ),
    Case(
        weights.check_pretrained_weights_not_loaded,
        "pretrained-weights-not-loaded",
        "note",
        ["was at its initial value when its first fit began"],
        dict(weights__body_at_init=True, weights__norm_shift=0.01, weights__distance=0.3),
        [dict(weights__body_at_init=False)],
    ),
    Case(
        weights.check_pretrained_weights_not_loaded,
        "pretrained-weights-not-loaded",
        "note",
        ["20,000 weights"],
        dict(weights__body_at_init=True),
        [dict(weights__body_at_init=False), dict(weights__body_at_init=None)],
    ),
    Case(
        weights.check_pretrained_weights_not_loaded,
        "pretrained-weights-not-loaded",
        "warning",
        ["1,000,000 weights"],
        dict(weights__body_at_init=True, weights__elements=1_000_000),
        [dict(weights=None)],
    ),
    Case(
        weights.check_pretrained_weights_not_loaded,
        "pretrained-weights-not-loaded",
        "warning",
        ["'bert-base-uncased'"],
        dict(weights__body_at_init=True, weights__pretrained_name="bert-base-uncased"),
        [dict(weights__body_at_init=False)],
    ),
    # -- gradient --------------------------------------------------------------------------------------------------
    Case(
        gradient.check_everything_frozen,
        "everything-frozen",
        "error",
        ["41 parameters"],
        dict(graph__trainable=0),
        [dict(graph__trainable=1), dict(graph__registered=0), dict(graph=None)],
    ),
    Case(
        gradient.check_no_gradient_in_model,
        "no-gradient-in-model",
        "error",
        ["40 parameters"],
        dict(graph__output_has_graph=False),
        [dict(graph__output_has_graph=True), dict(graph__trainable=0), dict(graph__opaque=1)],
    ),
    Case(
        gradient.check_body_without_gradient,
        "no-gradient-in-model",
        "error",
        ["30%", "pooler.weight"],
        dict(stepping__executed_unreached=300),
        [
            dict(stepping__executed_unreached=299),
            dict(stepping__executed_elements=0),
            dict(graph__reached=0),
            dict(graph__opaque=1),
            dict(graph=None),
            dict(stepping=None),
        ],
    ),
    Case(
        gradient.check_output_detached,
        "output-detached",
        "error",
        ["2 tensor(s)", "40 trainable"],
        dict(graph__reached_by_output=0, graph__reached=0, graph__foreign=2),
        [
            dict(graph__reached_by_output=1),
            dict(graph__hidden=1),
            dict(graph__opaque=1),
            dict(graph__trainable=0),
            dict(graph__output_has_graph=False),
        ],
    ),
    Case(
        gradient.check_loss_detached,
        "loss-detached",
        "error",
        ["39 parameters"],
        dict(graph__reached=0),
        [dict(graph__reached=1), dict(graph__reached_by_output=0), dict(graph__opaque=1), dict(graph=None)],
    ),
    Case(
        gradient.check_parameters_hidden,
        "parameters-hidden",
        "error",
        ["4 parameters"],
        dict(graph__hidden=4),
        [dict(graph__hidden=0), dict(graph=None)],
    ),
    Case(
        gradient.check_backward_skipped,
        "backward-skipped",
        "error",
        ["4 of 4", "(Dropper)"],
        dict(stepping__skipped_backwards=4, stepping__skipped_by=["Dropper"]),
        [dict(stepping__skipped_backwards=3), dict(stepping__steps=0), dict(stepping=None)],
    ),
    Case(
        gradient.check_backward_skipped,
        "backward-skipped",
        "error",
        ["before its first step (Ender)"],
        dict(wiring__ends_training=["Ender"], stepping=None),
        [dict(wiring__ends_training=[]), dict(wiring=None)],
    ),
    Case(
        gradient.check_step_skipped,
        "accumulation-never-steps",
        "error",
        ["(Accumulate)", "10 batches"],
        dict(
            stepping__skipped_steps=4,
            stepping__skipped_zero_grads=4,
            stepping__steps_simulated=0,
            stepping__skipped_by=["Accumulate"],
        ),
        [
            dict(stepping__skipped_steps=3),
            dict(stepping__steps_simulated=1),
            dict(stepping__steps_simulated=None),
            dict(stepping__skipped_backwards=4),
            dict(stepping__steps=0),
        ],
    ),
    Case(
        gradient.check_step_skipped,
        "step-skipped",
        "error",
        ["asks for that (Skip)"],
        dict(
            stepping__skipped_steps=4,
            stepping__skipped_zero_grads=3,
            stepping__steps_simulated=0,
            stepping__skipped_by=["Skip"],
        ),
        [dict(stepping__skipped_steps=3), dict(stepping=None)],
    ),
    Case(
        gradient.check_gradients_never_zeroed,
        "gradients-never-zeroed",
        "warning",
        ["all 4 steps"],
        dict(stepping__skipped_zero_grads=4),
        [dict(stepping__skipped_zero_grads=3), dict(stepping__steps=2), dict(stepping__skipped_steps=1)],
    ),
    # -- optimizer -------------------------------------------------------------------------------------------------
    Case(
        optimizer.check_optimizer_holds_another_model,
        "optimizer-holds-another-model",
        "error",
        ["39 parameters", "40 trainable"],
        dict(stepping__in_optimizer=0, stepping__in_layer_groups=0, stepping__in_optimizer_only=39),
        [
            dict(stepping__in_optimizer_only=0),
            dict(stepping__in_optimizer=1),
            dict(stepping__in_layer_groups=1),
            dict(stepping__trainable=0),
        ],
    ),
    Case(
        optimizer.check_split_leaves_modules_out,
        "split-leaves-modules-out",
        "error",
        ["19 of 40", "other 21", "a, b, c, ..."],
        dict(
            stepping__in_layer_groups=19,
            stepping__in_optimizer=19,
            stepping__not_in_optimizer_names=["a", "b", "c", "d"],
        ),
        [dict(stepping__in_layer_groups=40), dict(stepping__in_layer_groups=0), dict(stepping=None)],
    ),
    Case(
        optimizer.check_split_leaves_modules_out,
        "split-leaves-modules-out",
        "warning",
        ["20 of 40"],
        dict(stepping__in_layer_groups=20, stepping__in_optimizer=20),
        [dict(stepping__in_layer_groups=40)],
    ),
    Case(
        optimizer.check_split_leaves_modules_out,
        "parameters-not-in-optimizer",
        "warning",
        ["2 of 40", "holds 2 that"],
        dict(stepping__in_layer_groups=38, stepping__in_optimizer=38, stepping__in_optimizer_only=2),
        [dict(stepping__in_layer_groups=40)],
    ),
    Case(
        optimizer.check_parameters_not_in_optimizer,
        "parameters-not-in-optimizer",
        "warning",
        ["1 of 40"],
        dict(stepping__in_optimizer=39),
        [dict(stepping__in_optimizer=40), dict(stepping__in_layer_groups=0), dict(stepping__in_layer_groups=39)],
    ),
    Case(
        optimizer.check_parameters_not_in_optimizer,
        "parameters-not-in-optimizer",
        "error",
        ["38 of 40"],
        dict(stepping__in_optimizer=2),
        [dict(stepping__in_optimizer=40), dict(stepping=None)],
    ),
    Case(
        optimizer.check_freeze_without_groups,
        "freeze-without-groups",
        "note",
        ["40 parameters", "froze nothing"],
        dict(weights__frozen_in_vain=40),
        [dict(weights__frozen_in_vain=0), dict(weights=None)],
    ),
    Case(
        optimizer.check_untrained_body_frozen,
        "untrained-body-frozen",
        "error",
        ["2 of 41"],
        dict(weights__body_at_init=True, weights__body_trainable=False, graph__trainable=2),
        [
            dict(weights__body_at_init=False),
            dict(weights__body_trainable=True),
            dict(graph__trainable=0),
            dict(graph=None),
            dict(weights=None),
        ],
    ),
    Case(
        step_size.check_head_frozen,
        "head-frozen",
        "warning",
        ["40 other"],
        dict(graph__head_trainable=False),
        [dict(graph__head_trainable=True), dict(graph__head_trainable=None), dict(graph__trainable=0)],
    ),
    Case(
        step_size.check_head_frozen,
        "head-frozen",
        "warning",
        ["40 other"],
        dict(graph__head_trainable=False, graph__head_name="model.classifier"),
        [dict(graph__head_trainable=True)],
    ),
    Case(
        step_size.check_learning_rate_zero,
        "learning-rate-zero",
        "error",
        [],
        dict(hyper__lr=0.0, stepping__lr_in_force=None, hyper__scales_with_gradient=True),
        [dict(hyper__lr=1e-12)],
    ),
    Case(
        step_size.check_learning_rate_too_small,
        "learning-rate-too-small",
        "warning",
        ["grow with the gradient", "0.009 of their size", "24 steps"],
        dict(weights__distance=0.009, hyper__scales_with_gradient=True, **STANDING),
        [
            dict(weights__distance=0.01),
            dict(weights__distance=None),
            dict(hyper__scales_with_gradient=False),
            dict(history__losses=[1.1] * 19),
            dict(history__losses=[1.0] * 24),
            dict(stepping__skipped_steps=1),
        ],
    ),
    Case(
        step_size.check_learning_rate_too_small,
        "learning-rate-too-small",
        "note",
        ["0.0009 of their size"],
        dict(weights__distance=0.0009, **STANDING),
        [dict(weights__distance=0.001), dict(loss=None), dict(hyper__lowest_group_share=0.01)],
    ),
    Case(
        step_size.check_weight_decay_dominates,
        "learning-rate-too-high",
        "error",
        ["rate of 0.05", "usual weight decay"],
        dict(hyper__wd=0.01, hyper__lr=0.05, stepping__decay_over_gradient=0.1),
        [dict(hyper__lr=0.049), dict(stepping__decay_over_gradient=0.09)],
    ),
    Case(
        step_size.check_learning_rate_zero,
        "learning-rate-zero",
        "error",
        ["highest of the last fit"],
        dict(hyper__lr=0.0, stepping__lr_in_force=None),
        [dict(hyper__lr=1e-12), dict(hyper__lr=None), dict(hyper=None)],
    ),
    Case(
        step_size.check_learning_rate_zero,
        "learning-rate-zero",
        "error",
        ["set by a callback"],
        dict(stepping__lr_in_force=0),
        [dict(stepping__lr_in_force=1e-12), dict(stepping__lr_in_force=None), dict(stepping=None)],
    ),
    Case(
        step_size.check_learning_rate_too_small,
        "learning-rate-too-small",
        "error",
        ["3e-05", "9.9e-08"],
        dict(stepping__update=9.9e-8),
        [
            dict(stepping__update=1e-7),
            dict(stepping__update=0.0),
            dict(loss__first=0.01, loss__constant=1.0),
            dict(stepping__update=None),
            dict(hyper__lr=0.0),
            dict(hyper__lr=None),
            dict(stepping__lr_in_force=0),
            dict(stepping__skipped_steps=4),
            dict(stepping__in_optimizer=0),
        ],
    ),
    Case(
        step_size.check_learning_rate_too_small,
        "learning-rate-too-small",
        "warning",
        ["60% of the steps", "3e-05"],
        dict(hyper__near_zero_lr_share=0.6),
        [dict(hyper__near_zero_lr_share=0.59), dict(hyper=None)],
    ),
    Case(
        step_size.check_learning_rate_too_small,
        "learning-rate-too-small",
        "note",
        ["3e-05", "5e-05", "40 steps", "0.002"],
        dict(stepping__update=5e-5, history__losses=[1.05] * 40),
        [
            dict(stepping__update=2e-4),
            dict(hyper__lowest_group_share=0.01),
            dict(history__losses=[0.9] * 40),
            dict(history__losses=[1.05] * 19),
            dict(loss__constant=None),
            dict(loss=None),
            dict(hyper__lr=None),
            dict(history=None),
        ],
    ),
    Case(
        optimizer.check_weights_changed_between_steps,
        "weights-changed-between-steps",
        "error",
        ["3 times"],
        dict(stepping__changed_between_steps=3),
        [dict(stepping__changed_between_steps=2), dict(stepping=None)],
    ),
    Case(
        gradient.check_loss_scaled_to_zero,
        "loss-detached",
        "error",
        ["0 times"],
        dict(stepping__loss_factor=0.0),
        [dict(stepping__loss_factor=1e-9), dict(stepping__loss_factor=None), dict(stepping=None)],
    ),
    Case(
        gradient.check_checkpoints_without_gradient,
        "no-gradient-in-model",
        "error",
        ["reentrant checkpoint"],
        dict(graph__behind_checkpoints=True),
        [dict(graph__behind_checkpoints=False), dict(graph=None)],
    ),
    Case(
        gradient.check_gradient_vanishes,
        "gradient-vanishes",
        "warning",
        ["70% of them"],
        dict(stepping__gradient_share=0.3),
        [
            dict(stepping__gradient_share=0.31),
            dict(stepping__gradient_share=None),
            dict(graph__reached=7),
            dict(graph__opaque=1),
            dict(stepping__skipped_backwards=1),
            dict(graph=None),
        ],
    ),
    Case(
        step_size.check_learning_rate_too_high,
        "learning-rate-too-high",
        "error",
        ["of 3 (", "5 of their size"],
        dict(hyper__lr=3.0, stepping__largest_update=5.0),
        [dict(stepping__largest_update=4.99), dict(stepping__update=None), dict(hyper__lr=None), dict(hyper=None)],
    ),
    Case(
        step_size.check_learning_rate_too_high,
        "learning-rate-too-high",
        "error",
        ["rose from 0.9 to 1.1", "0.5 of their size"],
        dict(hyper__lr=0.03, stepping__update=0.5, history__losses=RISING, loss__constant=1.2),
        [dict(stepping__update=0.499), dict(history__losses=RISING[::-1]), dict(history__losses=RISING[:6])],
    ),
    Case(
        step_size.check_weight_decay_dominates,
        "weight-decay-dominates",
        "error",
        ["wd=10", "0.10% of every", "0.1 times"],
        dict(hyper__wd=10.0, hyper__lr=1e-4, stepping__decay_over_gradient=0.1),
        [
            dict(stepping__decay_over_gradient=0.099),
            dict(hyper__lr=4.9e-5),
            dict(hyper__wd=0.0),
            dict(stepping__decay_over_gradient=None),
            dict(hyper=None),
        ],
    ),
    Case(
        step_size.check_weight_decay_dominates,
        "weight-decay-dominates",
        "error",
        ["0.05% of every"],  # at the usual rate
        dict(hyper__wd=0.5, hyper__lr=None, stepping__decay_over_gradient=2.0),
        [dict(hyper__wd=0.49)],
    ),
    Case(
        step_size.check_clipped_to_nothing,
        "clipped-to-nothing",
        "error",
        ["1e-05", "0.001 of what"],
        dict(stepping__gradient_norms=[1e-6, 1e-5], stepping__clip_ratio=1e-3),
        [
            dict(stepping__gradient_norms=[1.1e-5]),
            dict(stepping__gradient_norms=[]),
            dict(stepping__gradient_norms=[NAN, INF, 10.0, INF]),
            dict(stepping__gradient_norms=[NAN, INF]),
            dict(stepping__skipped_steps=4),
            dict(stepping__clip_ratio=1.1e-3),
            dict(stepping__clip_ratio=None),
        ],
    ),
    Case(
        optimizer.check_gradients_replaced,
        "gradients-replaced",
        "error",
        ["at least 30 times"],
        dict(stepping__least_clip_ratio=30.0, stepping__gradient_turned=True),
        [
            dict(stepping__least_clip_ratio=29.0),
            dict(stepping__least_clip_ratio=None),
            dict(stepping__gradient_turned=False),
            dict(stepping__steps=1),
            dict(stepping=None),
        ],
    ),
    Case(
        optimizer.check_warm_up_never_ends,
        "warm-up-never-ends",
        "warning",
        ["to 3e-05"],
        UNLEARNED_RISE,
        [
            dict(hyper__rises_to_the_end=False),
            dict(history__losses=[1.1] * 19),
            dict(history__losses=[1.0] * 24),
            dict(history__metrics={"valid_loss": [1.0]}),
            dict(loss__constant_all_targets=None),
            dict(hyper=None),
        ],
    ),
    Case(
        optimizer.check_embeddings_frozen,
        "embeddings-frozen",
        "warning",
        ["words alone is frozen"],
        {**UNLEARNED_RISE, "weights__embedding_alone_frozen": "words"},
        [
            dict(weights__embedding_alone_frozen=None),
            dict(history__losses=[1.0] * 24),
            dict(weights=None),
        ],
    ),
    Case(
        weights.check_loss_summed_over_rows,
        "loss-summed-over-rows",
        "error",
        ["is 2 times"],
        SUMMED,
        [
            dict(loss__growth_with_rows=1.0),
            dict(loss__growth_with_rows=None),
            dict(hyper__scales_with_gradient=False),
            dict(hyper=None),
            dict(outputs__spread=0.5),  # not ruined
        ],
    ),
    Case(
        weights.check_weights_all_zero,
        "weights-all-zero",
        "error",
        ["2 layers (head.0, head.2)"],
        dict(weights__zero_matrices=["head.0", "head.2"], stepping__gradient_share=0.02),
        [dict(weights__zero_matrices=[]), dict(stepping__gradient_share=0.9), dict(weights=None)],
    ),
    Case(
        weights.check_weights_all_zero,
        "weights-all-zero",
        "error",
        ["1 layers (body.0)"],
        dict(weights__zero_matrices=["body.0"], outputs__changes_with_tokens=0.0),
        [dict(outputs__changes_with_tokens=0.8)],
    ),
    Case(
        weights.check_statistics_never_updated,
        "statistics-never-updated",
        "error",
        ["1 normalization layers (norm)"],
        dict(weights__stale_statistics=["norm"]),
        [dict(weights__stale_statistics=[]), dict(weights=None)],
    ),
    Case(
        step_size.check_epsilon_outweighs_gradients,
        "epsilon-outweighs-gradients",
        "warning",
        ["eps=1e-05", "1e-06 in the", "0.091 of"],
        dict(stepping__epsilon=1e-5, stepping__epsilon_damping=1 / 11),
        [
            dict(stepping__epsilon_damping=0.3),
            dict(stepping__epsilon_damping=None),
            dict(stepping__skipped_steps=4),
            dict(loss__first=0.49 * 1.09),
            dict(history__losses=[0.5] * 4),
            dict(history__losses=[0.5] * 4, loss__constant=1e-6, loss__constant_all_targets=1.1),  # rows of one target
            dict(loss__constant=None),
            dict(loss=None),
        ],
    ),
    Case(
        step_size.check_epsilon_outweighs_gradients,
        "epsilon-outweighs-gradients",
        "note",
        ["0.2 of"],
        dict(stepping__epsilon=1e-5, stepping__epsilon_damping=0.2),
        [dict(stepping__epsilon_damping=0.31)],
    ),
    Case(
        step_size.check_epsilon_outweighs_gradients,
        "epsilon-outweighs-gradients",
        "warning",
        ["0.2 of"],
        dict(stepping__epsilon=1e-5, stepping__epsilon_damping=0.2, history__losses=[1.1] * 20),
        [dict(loss=None)],
    ),
    Case(  # the fit runs: it may learn yet
        step_size.check_epsilon_outweighs_gradients,
        "epsilon-outweighs-gradients",
        "note",
        ["0.2 of"],
        dict(
            stepping__epsilon=1e-5,
            stepping__epsilon_damping=0.2,
            history__losses=[1.1] * 20,
            probes=with_outcome("the last fit", NOT_MADE, "it has not ended"),
        ),
        [dict(loss=None)],
    ),
    Case(  # it learns with it
        step_size.check_epsilon_outweighs_gradients,
        "epsilon-outweighs-gradients",
        "note",
        ["0.2 of"],
        dict(stepping__epsilon=1e-5, stepping__epsilon_damping=0.2, history__losses=[0.9] * 20),
        [dict(loss=None)],
    ),
    Case(
        step_size.check_epsilon_outweighs_gradients,
        "epsilon-outweighs-gradients",
        "error",
        ["eps=1", "0.005 of"],
        dict(stepping__epsilon=1.0, stepping__epsilon_damping=0.005),
        [dict(stepping=None)],
    ),
    Case(
        weights.check_dropout_too_high,
        "dropout-too-high",
        "warning",
        ["90%"],
        dict(weights__dropout=0.9),
        [dict(weights__dropout=0.79), dict(weights=None)],
    ),
    Case(
        step_size.check_nothing_learned_yet,
        "nothing-learned-yet",
        "note",
        ["In 40 steps", "from 1.1 to 1.1", "pays 1.09", "rate of 0.001 a pretrained"],
        dict(history__losses=[1.1] * 40, hyper__lr=1e-3, loss__constant=1.09),
        [
            dict(history__losses=[1.1] * 19),
            dict(history__losses=[1.0] * 40),
            dict(loss__constant=None),
            dict(history__losses=[2.0] * 20 + [1.1] * 20),
            dict(stepping__loss_factor=0.5),
            dict(history=None),
        ],
    ),
    Case(
        step_size.check_nothing_learned_yet,
        "nothing-learned-yet",
        "note",
        ["In 12 steps", "learned of the texts."],
        dict(history__losses=[1.1] * 12, loss__constant=1.09, outputs__spread=1e-5),
        [dict(outputs__spread=1e-2), dict(outputs__spread=0.0), dict(outputs__rows=1), dict(outputs=None)],
    ),
    Case(
        step_size.check_nothing_learned_yet,
        "nothing-learned-yet",
        "note",
        ["learned of the texts."],
        dict(history__losses=[1.1] * 40, loss__constant=1.09, weights__body_at_init=True),
        [dict(loss=None)],
    ),
    # A training loss falls to a constant predictor's, or below it by heart, whatever the texts say.
    Case(
        step_size.check_nothing_learned_yet,
        "nothing-learned-yet",
        "note",
        ["from 2 to 1"],
        dict(
            history__losses=[2.0] * 20 + [1.0] * 20,
            history__metrics={"valid_loss": [1.1, 1.1, 1.1]},
            loss__constant=1.09,
        ),
        [
            dict(history__metrics={"valid_loss": [1.1, 1.1]}),
            dict(history__metrics={"valid_loss": [1.6, 1.3, 1.2]}),
            dict(history__metrics={"valid_loss": [1.1, 1.1, 1.0]}),
            dict(history__metrics={}),
            dict(history__losses=[2.0] * 20 + [0.8] * 20),
        ],
    ),
    Case(
        step_size.check_weights_do_not_move,
        "weights-do-not-move",
        "error",
        ["39 parameters", "4 steps"],
        dict(stepping__moved=0),
        [
            dict(stepping__moved=1),
            dict(stepping__steps=1),
            dict(stepping__with_gradient=0),
            dict(stepping__skipped_steps=1),
            dict(stepping=None),
        ],
    ),
    # -- precision -------------------------------------------------------------------------------------------------
    Case(
        precision.check_half_weights_without_master,
        "half-weights-without-master",
        "error",
        ["38 of 40", "97%"],
        dict(weights__half=38, stepping__lost_in_rounding=0.97),
        [dict(weights__half=0), dict(weights__has_master_copies=True), dict(weights=None)],
    ),
    Case(
        precision.check_half_weights_without_master,
        "half-weights-without-master",
        "error",
        ["steps them directly. "],
        dict(weights__half=38, stepping=None),
        [dict(weights__half=0)],
    ),
    Case(
        precision.check_loss_scale_overflows,
        "loss-scale-overflows",
        "error",
        ["All 4 steps", "65536"],
        dict(precision__overflows=4),
        [
            dict(precision__overflows=3),
            dict(precision__steps=1),
            dict(precision=None),
            dict(precision__first_scale=65536.0, precision__loss_scale=8192.0),
        ],
    ),
    Case(
        precision.check_loss_scale_overflows,
        "loss-scale-overflows",
        "error",
        ["8192"],  # the loss itself is no half number
        dict(precision__overflows=4, precision__first_scale=65536.0, precision__loss_scale=8192.0, loss__first=7e4),
        [dict(loss__first=6e4)],
    ),
    Case(
        precision.check_loss_scale_overflows,
        "loss-scale-overflows",
        "error",
        ["All 8 steps"],
        dict(precision__overflows=8, precision__steps=8, precision__first_scale=65536.0, precision__loss_scale=512.0),
        [dict(precision__overflows=7)],
    ),
    Case(
        precision.check_loss_scale_collapsed,
        "loss-scale-collapsed",
        "warning",
        ["to 1.5"],
        dict(precision__loss_scale=1.5),
        [dict(precision__loss_scale=2.0), dict(precision=None)],
    ),
    # -- substitution ------------------------------------------------------------------------------------------------
    Case(
        substitution.check_substitution,
        "substitution-callback",
        "error",
        ["callback `Zero` (train.py, line 41) left out", "22%", "100%", "120 steps"],
        dict(substitution=substituted(REPLACED)),
        [dict(substitution=substituted()), dict(substitution=substituted(REPLACED, cured=None))],
    ),
]

RISING = [0.9, 0.9, 0.95, 1.0, 1.0, 1.05, 1.1, 1.1]  # losses


def findings_of(check, evidence):
    """The findings of a check, always a list."""
    found = check(evidence)
    return [] if found is None else [found] if isinstance(found, Finding) else list(found)


def case_id(case):
    return f"{case.check.__module__.split('.')[-1]}.{case.check.__name__}-{case.severity}"


def figures_shown_by(case):
    (finding,) = findings_of(case.check, evidence_with(**case.fires))
    assert (finding.cause, finding.severity) == (case.cause, case.severity)
    assert [figure for figure in case.figures if figure not in finding.message] == []
    assert bool(finding.fix) is not bool(finding.action), "a line that is the same on every fastai, or an action"
    assert finding.evidence and not finding.can_apply


def stays_silent(case):
    assert [over for over in case.silent if findings_of(case.check, evidence_with(**{**case.fires, **over}))] == []


every_case = pytest.mark.parametrize("case", CASES, ids=case_id)


@every_case
def test_it_fires_with_its_cause_its_severity_and_its_figures(case):
    figures_shown_by(case)


@every_case
def test_it_is_silent_on_the_nearest_healthy_evidence(case):
    assert case.silent
    stays_silent(case)


# -- all checks at once --------------------------------------------------------------------------------------------

every_check = pytest.mark.parametrize(
    "check", checks.ALL_CHECKS, ids=lambda c: f"{c.__module__.split('.')[-1]}.{c.__name__}"
)


@every_check
def test_a_healthy_run_has_no_finding(check):
    assert findings_of(check, healthy()) == []


@every_check
def test_what_was_not_looked_at_is_no_finding(check):
    assert findings_of(check, Evidence()) == []


@every_check
def test_of_a_healthy_run_any_part_may_be_missing(check):
    assert [part for part in PARTS if findings_of(check, evidence_with(**{part: None}))] == []


@every_case
def test_of_a_sick_run_any_part_may_be_missing_too(case):
    for part in PARTS:
        for finding in findings_of(case.check, evidence_with(**{**case.fires, part: None})):
            assert finding.cause in checks.CAUSE_ORDER


def test_every_check_has_a_place_in_these_tables():
    from tests.diagnosis.checks.test_data_checks import CASES as MORE
    from tests.diagnosis.checks.test_numeric_checks import CASES as NUMERIC

    assert {case.check for case in CASES + MORE + NUMERIC} == set(checks.ALL_CHECKS)


# -- the tables of the checks themselves ---------------------------------------------------------------------------

FAMILIES = (
    wiring,
    weights,
    gradient,
    optimizer,
    step_size,
    precision,
    pairing,
    outputs,
    inputs,
    numeric,
    labels,
    metrics,
    substitution,
)
KNOWN = set(checks.CAUSE_ORDER) | set(REASONS)


def test_every_cause_has_exactly_one_place_in_the_rank():
    assert [cause for cause, times in Counter(checks.CAUSE_ORDER).items() if times > 1] == []


def test_every_cause_that_a_check_returned_here_is_its_familys():
    from tests.diagnosis.checks.test_data_checks import CASES as MORE
    from tests.diagnosis.checks.test_numeric_checks import CASES as NUMERIC

    stray = {
        case.cause
        for case in CASES + MORE + NUMERIC
        if case.cause not in next(f for f in FAMILIES if f.__name__ == case.check.__module__).CAUSES
    }
    assert stray == set()


def test_every_reason_of_a_failure_has_a_place_in_the_rank():
    assert set(REASONS) - set(checks.CAUSE_ORDER) == set()


def test_what_explains_and_what_is_explained_is_known():
    named = set(checks.EXPLAINED_BY) | {cause for by in checks.EXPLAINED_BY.values() for cause in by}
    assert named - KNOWN == set()


def test_no_two_families_explain_the_same_cause():
    assert [c for c, n in Counter(c for family in FAMILIES for c in family.EXPLAINED_BY).items() if n > 1] == []


def test_no_cause_explains_itself_away_by_a_detour():
    def behind(cause, on_the_way=()):
        return {cause} | {
            c
            for by in checks.EXPLAINED_BY.get(cause, ())
            if by not in on_the_way
            for c in behind(by, (*on_the_way, cause))
        }

    for cause, by in checks.EXPLAINED_BY.items():
        assert cause not in set().union(*map(behind, by)), cause


def test_the_severities_are_known_and_every_one_is_used():
    from tests.diagnosis.checks.test_data_checks import CASES as MORE
    from tests.diagnosis.checks.test_numeric_checks import CASES as NUMERIC

    assert {case.severity for case in CASES + MORE + NUMERIC} == set(SEVERITIES)


# -- corners -------------------------------------------------------------------------------------------------------


# Once: with a callback in callback_fns, any failure of validation is laid to it, also one that training has too.
def test_a_failure_of_both_paths_is_no_matter_of_callback_fns():
    both = evidence_with(
        wiring__only_in_callback_fns=["Unwrap"],
        wiring__hf_callback=False,
        wiring__train_error="token-outside-vocabulary",
        wiring__valid_error="token-outside-vocabulary",
    )
    assert findings_of(wiring.check_valid_path, both) == []


# Once: 1-d outputs against 1-d targets are what a flattened regression has; the patch does no harm there.
def test_a_patch_before_a_flat_regression_is_a_warning():
    (finding,) = findings_of(
        wiring.check_patch_left_active, evidence_with(wiring__patch="loss_batch", outputs__shape=(8,))
    )
    assert finding.severity == "warning"


def test_who_asked_to_skip_is_in_the_fix():
    (finding,) = findings_of(
        gradient.check_backward_skipped, evidence_with(stepping__skipped_backwards=4, stepping__skipped_by=["Dropper"])
    )
    assert finding.action == Action("remove-callbacks", {"names": ["Dropper"]})
    (finding,) = findings_of(gradient.check_backward_skipped, evidence_with(stepping__skipped_backwards=4))
    assert finding.action == Action("skip-backward-rarely")
