"""The checks of outputs, inputs, targets and metrics; the table is read as in ``test_checks.py``."""

import pytest

from fastai_hf_callback.diagnosis.checks import inputs, labels, metrics, outputs, pairing
from tests.diagnosis.checks.test_checks import Case, case_id, figures_shown_by, findings_of, stays_silent
from tests.recorded_evidence import evidence_with

NAN = float("nan")
FRONT = dict(inputs__pad_side="front", inputs__first_token_in_front=0.2, outputs__changes_with_padding=0.3)
SAME = dict(
    metric__at_ideal=0.9,
    metric__at_worst=0.9,
    metric__at_random=0.9,
    metric__at_other_random=0.9,
    metric__base_rate=0.9,
)
DISAGREE = dict(
    labels__signal_within_train=0.9,
    labels__signal_train_to_valid=0.53,
    labels__error_within_valid=0.02,
    labels__valid_rows=200,
)
NO_SIGNAL = dict(labels__signal_within_train=0.539, labels__signal_within_valid=0.58, labels__signal_together=0.539)

SCALED = dict(metric__at_ideal=1.0, metric__at_worst=-99.0, metric__at_tenth=-80.0, metric__at_tenfold=0.19)
WATCHED = dict(
    wiring__trackers=[("EarlyStoppingCallback", "accuracy", False)],
    metric__name="accuracy",
    metric__at_ideal=1.0,
    metric__at_worst=0.0,
)
DRAWN = dict(labels__drawn=64, labels__distinct_drawn=3, labels__distinct_sampled=250)
COSTS = [("class 0", 0.9, 18.0), ("class 1", 0.1, 2.0)]

CASES = [
    Case(
        metrics.check_metric_arguments_swapped,
        "metric-arguments-swapped",
        "warning",
        ["0.19", "-80"],
        SCALED,
        [
            dict(metric__at_tenth=0.19, metric__at_tenfold=-80.0),
            dict(metric__at_tenth=0.19),
            dict(metric__at_tenth=None),
            dict(metric__at_ideal=None),
            dict(metric__at_ideal=0.0, metric__at_worst=9.0),
        ],
    ),
    Case(
        metrics.check_better_taken_for_worse,
        "better-taken-for-worse",
        "warning",
        ["EarlyStoppingCallback", "accuracy", "less", "score 1 and contrary ones 0"],
        WATCHED,
        [
            dict(wiring__trackers=[("EarlyStoppingCallback", "accuracy", True)]),
            dict(metric__name="another"),
            dict(metric__at_worst=None),
            dict(metric__at_worst=1.0),
            dict(wiring__trackers=[]),
            dict(wiring=None),
        ],
    ),
    Case(
        metrics.check_better_taken_for_worse,
        "better-taken-for-worse",
        "warning",
        ["ReduceLROnPlateau", "valid_loss", "more"],
        dict(wiring__trackers=[("ReduceLROnPlateau", "valid_loss", True)]),
        [dict(wiring__trackers=[("ReduceLROnPlateau", "valid_loss", False)])],
    ),
    Case(
        labels.check_loss_weighs_the_frequent,
        "loss-weighs-the-frequent",
        "warning",
        ["class 0 (90%", "class 1 (10%", "18", "by 2 "],
        dict(loss__target_costs=COSTS),
        [
            dict(loss__target_costs=[("class 0", 0.9, 2.0), ("class 1", 0.1, 18.0)]),
            dict(loss__target_costs=[("class 0", 0.6, 18.0), ("class 1", 0.4, 2.0)]),
            dict(loss__target_costs=[("class 0", 0.9, 3.0), ("class 1", 0.1, 2.0)]),
            dict(loss__target_costs=[("0 in label column 1", 0.9, 18.0), ("1 in label column 2", 0.1, 2.0)]),
            dict(loss__target_costs=[]),
            dict(loss=None),
        ],
    ),
    Case(
        labels.check_rows_mixed_in_collate,
        "rows-mixed-in-collate",
        "error",
        ["6 get"],
        dict(labels__rows_mixed=6),
        [dict(labels__rows_mixed=0), dict(labels=None)],
    ),
    Case(
        labels.check_few_rows_drawn,
        "few-rows-drawn",
        "warning",
        ["64", "3 distinct", "250"],
        DRAWN,
        [
            dict(labels__distinct_drawn=30),
            dict(labels__distinct_sampled=40),
            dict(labels__drawn=16),
            dict(labels=None),
        ],
    ),
    Case(
        labels.check_targets_of_another_scale,
        "targets-of-another-scale",
        "warning",
        ["49.7"],
        dict(labels__shift=49.7),
        [dict(labels__shift=0.4), dict(labels__shift=None), dict(labels=None)],
    ),
    # -- outputs ---------------------------------------------------------------------------------------------------
    Case(
        outputs.check_non_finite_outputs,
        "non-finite-outputs",
        "error",
        ["NaN or infinity"],
        dict(outputs__finite=False),
        [dict(outputs__finite=True), dict(outputs=None)],
    ),
    Case(
        outputs.check_non_finite_loss,
        "non-finite-loss",
        "error",
        ["1 of 4"],
        dict(stepping__non_finite_losses=1),
        [dict(stepping__non_finite_losses=0), dict(stepping=None)],
    ),
    Case(
        outputs.check_output_is_the_loss,
        "output-is-the-loss",
        "error",
        ["8 rows"],
        dict(outputs__shape=()),
        [dict(outputs__shape=(1,)), dict(loss__returns_output=True), dict(outputs=None)],
    ),
    Case(
        outputs.check_batch_dimension_lost,
        "batch-dimension-lost",
        "error",
        ["(3,)", "batch of 8", "(8,)"],
        dict(outputs__shape=(3,)),
        [
            dict(outputs__shape=(8,)),
            dict(outputs__shape=(8, 3)),
            dict(outputs__shape=()),
            dict(outputs__rows=1),
            dict(outputs__target_shape=()),
            dict(outputs=None),
        ],
    ),
    Case(
        outputs.check_batch_dimension_lost,
        "batch-dimension-lost",
        "error",
        ["(5, 3)", "(40,)"],  # one text of five tokens of eight
        dict(outputs__shape=(5, 3), outputs__target_shape=(40,)),
        [dict(outputs__shape=(40, 3)), dict(outputs__shape=(80, 3)), dict(outputs__shape=(80,))],
    ),
    Case(
        outputs.check_loss_broadcasts,
        "loss-broadcasts",
        "error",
        ["(8, 1)", "(8,)"],
        dict(outputs__shape=(8, 1), outputs__broadcasts=True),
        [dict(outputs__broadcasts=False), dict(outputs__broadcasts=None), dict(outputs=None)],
    ),
    Case(
        outputs.check_hidden_state_as_logits,
        "hidden-state-as-logits",
        "error",
        ["16 wide"],
        dict(outputs__shape=(8, 16)),
        [
            dict(outputs__shape=(8, 15)),
            dict(outputs__hidden_size=None),
            dict(outputs__num_labels=16),
            dict(outputs__shape=()),
        ],
    ),
    Case(
        outputs.check_hidden_state_as_logits,
        "hidden-state-as-logits",
        "error",
        ["last layer has no part"],
        dict(outputs__shape=(8, 16), outputs__num_labels=16, graph__head_unreached=True),
        [dict(graph__head_unreached=False), dict(graph__head_unreached=None), dict(graph=None)],
    ),
    Case(
        outputs.check_head_of_no_use,
        "head-of-no-use",
        "note",
        ["no part in the output"],
        dict(graph__head_unreached=True),
        [dict(graph__head_unreached=False), dict(graph=None)],
    ),
    Case(
        outputs.check_loss_sign_flipped,
        "loss-sign-flipped",
        "error",
        ["-1 times"],
        dict(stepping__loss_factor=-1.0),
        [
            dict(stepping__loss_factor=0.0),
            dict(stepping__loss_factor=1.0),
            dict(stepping__loss_factor=None),
            dict(stepping=None),
        ],
    ),
    Case(
        outputs.check_loss_sign_flipped,
        "loss-sign-flipped",
        "error",
        ["-0.1 where", "-10 where"],
        dict(loss__at_ideal=-0.1, loss__at_worst=-10.0),
        [dict(loss__at_worst=-0.1), dict(loss__at_worst=None), dict(loss__at_ideal=None), dict(loss=None)],
    ),
    Case(
        labels.check_labels_unrelated_to_texts,
        "train-and-valid-disagree",
        "warning",
        ["opposite for class 2 (0.31"],
        dict(labels__worst_column=2, labels__worst_column_auc=0.31, labels__worst_column_z=-5.5),
        [dict(labels__worst_column_z=-4.4), dict(labels__signal_within_train=0.57), dict(labels=None)],
    ),
    Case(
        labels.check_validation_worse_than_constant,
        "validation-worse-than-constant",
        "note",
        ["fell to 0.7", "stands at 1.6", "pays 1.39"],
        dict(
            history__losses=[1.4] * 10 + [0.7] * 10,
            history__metrics={"valid_loss": [1.5, 1.6]},
            loss__constant_all_targets=1.39,
        ),
        [
            dict(history__metrics={"valid_loss": [1.6, 1.45]}),
            dict(history__losses=[1.4] * 10 + [1.2] * 10),
            dict(history__losses=[1.4] * 9 + [0.7] * 10),
            dict(loss__constant_all_targets=None),
            dict(history=None),
            dict(history__metrics={}),
            dict(loss=None),
        ],
    ),
    Case(
        outputs.check_loss_ignores_a_target,
        "loss-ignores-a-target",
        "warning",
        ["target is class 0 or class 2"],
        dict(loss__ignored_targets=["class 0", "class 2"]),
        [dict(loss__ignored_targets=[]), dict(loss=None)],
    ),
    Case(
        outputs.check_softmax_before_cross_entropy,
        "softmax-before-cross-entropy",
        "error",
        ["between 0.1 and 0.9", "sums to 1"],
        dict(outputs__bounded=True, outputs__rows_sum_to_one=True, outputs__lowest=0.1, outputs__highest=0.9),
        [
            dict(outputs__bounded=False),
            dict(outputs__rows_sum_to_one=False),
            dict(loss__shift_invariant=False),
            dict(loss=None),
            dict(outputs=None),
        ],
    ),
    Case(
        outputs.check_sigmoid_before_logits_loss,
        "sigmoid-before-logits-loss",
        "error",
        ["between 0.1 and 0.9"],
        dict(outputs__bounded=True, loss__takes_logits=True, outputs__lowest=0.1, outputs__highest=0.9),
        [
            dict(outputs__bounded=False),
            dict(loss__takes_logits=False, loss__shift_invariant=False),
            dict(outputs__rows_sum_to_one=True),
            dict(loss=None),
        ],
    ),
    Case(
        outputs.check_no_log_softmax_before_nll,
        "no-log-softmax-before-nll",
        "error",
        ["given logits", "between -1.2 and 1.5"],
        dict(loss__falls_with_shift=True),
        [
            dict(loss__falls_with_shift=False),
            dict(loss__falls_with_shift=None),
            dict(loss=None),
            dict(outputs=None),
            dict(outputs__rows_are_log_probabilities=True),
            dict(outputs__finite=False),
        ],
    ),
    Case(
        outputs.check_input_ignored,
        "input-ignored",
        "error",
        ["8 rows", "last bit"],
        dict(outputs__changes_with_tokens=0.0),
        [dict(outputs__changes_with_tokens=1e-12), dict(outputs__changes_with_tokens=None), dict(outputs=None)],
    ),
    Case(
        outputs.check_cannot_fit_one_batch,
        "cannot-fit-one-batch",
        "warning",
        ["8 steps", "at 1.1 (before: 1.1)"],
        dict(loss__after_fitting=1.1001),
        [
            dict(loss__after_fitting=1.0998),
            dict(loss__after_fitting=1.1002),
            dict(loss__fitting_steps=7),
            dict(loss__after_fitting=None),
            dict(loss__before_fitting=None),
            dict(graph__trainable=0),
            dict(loss__constant=2.3),
            dict(loss=None),
        ],
    ),
    # -- inputs ----------------------------------------------------------------------------------------------------
    Case(
        inputs.check_inputs_in_wrong_arguments,
        "inputs-in-wrong-arguments",
        "error",
        ["2 distinct"],
        dict(inputs__batch_has_other_ids=True, inputs__distinct_ids=2),
        [dict(inputs__batch_has_other_ids=False), dict(inputs=None)],
    ),
    Case(
        inputs.check_inputs_in_wrong_arguments,
        "inputs-in-wrong-arguments",
        "warning",
        ["arrives as token_type_ids"],
        dict(inputs__mask_arrives_as=["token_type_ids"]),
        [dict(inputs__mask_arrives_as=[])],
    ),
    Case(
        inputs.check_unknown_tokens,
        "unknown-tokens",
        "error",
        ["60%", "(7)", "38 distinct"],
        dict(inputs__top_token_share=0.6),
        [
            dict(inputs__top_token_share=0.599),
            dict(inputs__words=39),
            dict(inputs__batch_has_other_ids=True),
            dict(inputs=None),
        ],
    ),
    Case(
        inputs.check_unknown_tokens,
        "unknown-tokens",
        "warning",
        ["17% of all words"],
        dict(inputs__unknown_share=0.17),
        [dict(inputs__unknown_share=0.09), dict(inputs__unknown_share=None), dict(inputs__words=39)],
    ),
    Case(
        inputs.check_unknown_tokens,
        "unknown-tokens",
        "error",
        ["2 distinct"],
        dict(inputs__distinct_words=2),
        [dict(inputs__distinct_words=3)],
    ),
    Case(
        inputs.check_foreign_special_tokens,
        "foreign-special-tokens",
        "warning",
        ["xxbos, xxmaj"],
        dict(inputs__foreign_tokens=["xxbos", "xxmaj"]),
        [dict(inputs__foreign_tokens=[]), dict(inputs__words=39)],
    ),
    Case(
        inputs.check_foreign_special_tokens,
        "foreign-special-tokens",
        "warning",
        ["id 7", "91%", "12%"],
        dict(
            inputs__top_token_share=0.12,
            inputs__first_token=8,
            inputs__second_position_token=7,
            inputs__second_position_share=0.91,
        ),
        [
            dict(inputs__top_token_share=0.119),
            dict(inputs__second_position_share=0.9),
            dict(inputs__first_token=6),
            dict(inputs__second_position_token=8),
            dict(inputs__first_token=None),
            dict(inputs=None),
        ],
    ),
    Case(
        inputs.check_attention_mask_wrong,
        "attention-mask-wrong",
        "error",
        ["id 0", "49%"],
        dict(inputs__mask_marks_padding=0.49, outputs__changes_with_padding=0.3),
        [
            dict(outputs__changes_with_padding=2e-3),
            dict(outputs__changes_with_padding=None),
            dict(inputs__pad_token_id=None),
            dict(inputs__mask_given=False),
            dict(inputs__mask_marks_padding=None),
            dict(outputs=None),
            dict(inputs=None),
        ],
    ),
    Case(
        inputs.check_attention_mask_wrong,
        "attention-mask-wrong",
        "warning",
        ["50%"],
        dict(inputs__mask_marks_padding=0.5, outputs__changes_with_padding=2.1e-3),
        [dict(outputs__changes_with_padding=2e-3)],
    ),
    Case(
        inputs.check_attention_mask_wrong,
        "attention-mask-wrong",
        "error",
        ["20%"],  # all masked: no number comes out
        dict(inputs__mask_marks_padding=0.2, outputs__finite=False),
        [dict(outputs__finite=True)],
    ),
    Case(
        inputs.check_attention_mask_wrong,
        "attention-mask-wrong",
        "note",
        ["0.3 of their spread"],
        dict(outputs__changes_with_padding=0.3),
        [dict(outputs__changes_with_padding=2e-3), dict(inputs__pad_side="front")],
    ),
    Case(
        inputs.check_attention_mask_wrong,
        "attention-mask-missing",
        "warning",
        ["does not reach", "0.3 of their spread"],
        dict(outputs__changes_with_padding=0.3, inputs__mask_argument_given=False),
        [dict(outputs__changes_with_padding=2e-3)],
    ),
    Case(
        inputs.check_attention_mask_missing,
        "attention-mask-missing",
        "warning",
        ["20%", "id 0", "0.3 of their spread"],
        dict(inputs__mask_given=False, inputs__mask_argument_given=False, outputs__changes_with_padding=0.3),
        [dict(inputs__mask_given=True), dict(inputs__pad_token_id=None), dict(outputs__changes_with_padding=2e-3)],
    ),
    # A model that has learned nothing yet answers to words hardly more than to padding.
    Case(
        inputs.check_attention_mask_missing,
        "attention-mask-missing",
        "warning",
        ["0.0011 of their spread"],
        dict(
            inputs__mask_given=False,
            inputs__mask_argument_given=False,
            outputs__changes_with_padding=1.1e-3,
            outputs__changes_with_tokens=0.02,
        ),
        [
            dict(outputs__changes_with_tokens=0.023),
            dict(outputs__changes_with_tokens=None),
            dict(outputs__changes_with_padding=5e-4, outputs__changes_with_tokens=1e-3),
        ],
    ),
    Case(
        inputs.check_attention_mask_missing,
        "attention-mask-missing",
        "note",
        ["takes no mask", "0.3 of their spread"],
        dict(
            inputs__mask_given=False,
            inputs__mask_argument_given=False,
            outputs__changes_with_padding=0.3,
            inputs__takes_mask=False,
        ),
        [dict(inputs__mask_given=True)],
    ),
    Case(
        inputs.check_attention_mask_wrong,
        "attention-mask-missing",
        "note",
        ["takes no mask", "0.3 of their spread"],
        dict(outputs__changes_with_padding=0.3, inputs__takes_mask=False),
        [dict(inputs__mask_marks_padding=None)],
    ),
    Case(
        inputs.check_attention_mask_missing,
        "attention-mask-wrong",
        "note",
        ["0.3 of their spread"],
        dict(inputs__mask_given=False, inputs__mask_argument_given=True, outputs__changes_with_padding=0.3),
        [dict(outputs=None), dict(inputs=None)],
    ),
    Case(
        inputs.check_padding_in_front,
        "padding-in-front",
        "note",
        ["0.3 of their spread", "20% of the rows", "token 2"],
        FRONT,
        [
            dict(inputs__pad_side="back"),
            dict(inputs__same_last_token=True),
            dict(inputs__first_token_in_front=0.96),
            dict(outputs__changes_with_padding=2e-3),
        ],
    ),
    Case(
        inputs.check_padding_in_front,
        "padding-in-front",
        "warning",
        ["spread. fastai"],
        {**FRONT, "inputs__first_token": None, "inputs__mask_argument_given": False},
        [dict(inputs=None), dict(inputs__pad_side=None)],
    ),
    Case(
        inputs.check_wrong_padding_id,
        "wrong-padding-id",
        "warning",
        ["with id 1;", "is id 0"],
        dict(inputs__pad_token_id=1, outputs__changes_with_padding=0.3),
        [
            dict(inputs__pad_token_id=0),
            dict(inputs__pad_token_id=None),
            dict(outputs__changes_with_padding=2e-3),
            dict(inputs__embedding_pad_id=None, inputs__config_pad_id=None),
            dict(inputs__embedding_pad_id=1),
            dict(inputs__embedding_pad_id=None, inputs__config_pad_id=1),
        ],
    ),
    # -- targets ---------------------------------------------------------------------------------------------------
    Case(
        labels.check_labels_constant,
        "labels-constant",
        "error",
        ["All 16"],
        dict(labels__train_constant=True, labels__train_rows=16),
        [dict(labels__train_rows=15), dict(labels__train_constant=False), dict(labels=None)],
    ),
    Case(
        labels.check_texts_truncated,
        "texts-truncated",
        "note",
        ["90%", "9 tokens", "0.54"],
        {**NO_SIGNAL, "inputs__truncated_share": 0.9},
        [
            dict(inputs__truncated_share=0.89),
            dict(labels__signal_within_train=0.541),
            dict(inputs=None),
            dict(labels=None),
        ],
    ),
    Case(
        labels.check_texts_truncated,
        "texts-truncated",
        "warning",
        ["90%"],
        {
            **NO_SIGNAL,
            "inputs__truncated_share": 0.9,
            "history__losses": [1.1] * 24,
            "history__metrics": {"valid_loss": [1.1]},
            "loss__constant_all_targets": 1.09,
        },
        [dict(inputs__truncated_share=0.89)],
    ),
    Case(
        labels.check_labels_unrelated_to_texts,
        "labels-unrelated-to-texts",
        "note",
        ["400 training rows", "0.54 +- 0.02"],
        NO_SIGNAL,
        [
            dict(labels__signal_within_train=0.541),
            dict(labels__signal_together=0.541),
            dict(labels__train_rows=199),
            dict(labels__error_together=0.041),
            dict(labels__signal_together=None),
            dict(labels__signal_within_train=None),
            dict(labels=None),
        ],
    ),
    Case(
        labels.check_labels_unrelated_to_texts,
        "labels-unrelated-to-texts",
        "warning",
        ["0.59", "not among"],
        dict(labels__signal_within_train=0.539, labels__signal_within_valid=0.59),
        [
            dict(labels__signal_within_valid=0.58),
            dict(labels__signal_within_train=0.541),
            dict(labels__train_rows=199),
            dict(labels__signal_within_valid=None),
        ],
    ),
    Case(
        labels.check_labels_unrelated_to_texts,
        "train-and-valid-disagree",
        "warning",
        ["0.90", "0.53"],
        DISAGREE,
        [
            dict(labels__signal_train_to_valid=0.541),
            dict(labels__valid_rows=63),
            dict(labels__signal_within_train=0.61),
            dict(labels__signal_train_to_valid=None),
        ],
    ),
    Case(
        outputs.check_loss_ignores_targets,
        "loss-ignores-targets",
        "error",
        ["does not read them"],
        dict(loss__depends_on_order=False, loss__depends_on_targets=False),
        [dict(loss__depends_on_order=True), dict(loss__depends_on_order=None), dict(loss=None)],
    ),
    Case(
        outputs.check_loss_ignores_targets,
        "loss-broadcasts",
        "error",
        ["averages of the batch"],
        dict(loss__depends_on_order=False, loss__depends_on_targets=True),
        [dict(loss__depends_on_order=True), dict(loss=None)],
    ),
    Case(
        outputs.check_depends_on_batch_mates,
        "depends-on-batch-mates",
        "warning",
        ["0.05 of their spread"],
        dict(outputs__changes_with_batch_mates=0.05),
        [
            dict(outputs__changes_with_batch_mates=0.049),
            dict(outputs__changes_with_batch_mates=None),
            dict(outputs=None),
        ],
    ),
    Case(
        inputs.check_texts_all_alike,
        "texts-all-alike",
        "error",
        ["the same"],
        dict(inputs__distinct_rows=1),
        [
            dict(inputs__distinct_rows=2),
            dict(inputs__distinct_rows=0),
            dict(inputs__rows=3),
            dict(inputs__batch_has_other_ids=True),
            dict(inputs=None),
        ],
    ),
    Case(
        inputs.check_attention_mask_wrong,
        "attention-mask-wrong",
        "error",
        ["zeros alone"],
        dict(inputs__mask_hides_everything=True),
        [dict(inputs__mask_hides_everything=False), dict(inputs=None)],
    ),
    Case(
        labels.check_labels_in_order,
        "labels-in-order",
        "warning",
        ["5 standard"],
        dict(labels__order_z=-5.0),
        [dict(labels__order_z=-4.99), dict(labels__order_z=5.0), dict(labels__order_z=None), dict(labels=None)],
    ),
    Case(
        labels.check_validation_one_class,
        "validation-one-class",
        "warning",
        ["All 200"],
        dict(labels__valid_constant=True),
        [
            dict(labels__valid_constant=False),
            dict(labels__train_constant=True),
            dict(labels__kind="number"),
            dict(labels__valid_rows=7),
            dict(labels__train_shares=[0.97, 0.03]),
            dict(labels=None),
        ],
    ),
    Case(
        labels.check_validation_one_class,
        "validation-one-class",
        "warning",
        ["All 20 "],  # of labels the columns count together
        dict(
            labels__valid_constant=True,
            labels__kind="labels",
            labels__valid_rows=20,
            labels__train_shares=[0.2, 0.8, 0.02],
        ),
        [dict(labels__train_shares=[0.2, 0.02, 0.02])],
    ),
    # -- pairs of outputs and targets ------------------------------------------------------------------------------
    Case(
        pairing.check_decoder_inputs_missing,
        "decoder-inputs-missing",
        "error",
        ["labels"],
        dict(pairing__decodes_source=True),
        [dict(pairing__decodes_source=False), dict(pairing=None)],
    ),
    Case(
        pairing.check_targets_not_shifted,
        "targets-not-shifted",
        "error",
        ["the very id"],
        dict(pairing__ahead=0, pairing__shift=0),
        [
            dict(pairing__ahead=1),
            dict(pairing__shift=1),
            dict(pairing__shift=1, pairing__is_causal=True),
            dict(pairing__shift=None),
            dict(pairing__ahead=None),
            dict(pairing=None),
        ],
    ),
    Case(
        pairing.check_targets_not_shifted,
        "targets-not-shifted",
        "error",
        ["reads that one too"],
        dict(pairing__ahead=1, pairing__shift=0, pairing__is_causal=False),
        [dict(pairing__is_causal=True), dict(pairing__is_causal=None)],
    ),
    Case(
        pairing.check_targets_shifted_twice,
        "targets-shifted-twice",
        "error",
        ["shifted by 1", "ahead by 1 more"],
        dict(pairing__ahead=1, pairing__shift=1),
        [dict(pairing__shift=0), dict(pairing__ahead=0), dict(pairing__shift=None), dict(pairing=None)],
    ),
    Case(
        pairing.check_padding_counted,
        "padding-counted",
        "warning",
        ["60 of the 100", "60%"],
        dict(pairing__counted=100, pairing__on_padding=60),
        [
            dict(pairing__on_padding=7),
            dict(pairing__on_padding=60, pairing__counted=1201),
            dict(pairing__on_padding=0),
            dict(pairing=None),
        ],
    ),
    Case(
        pairing.check_token_labels_unrelated,
        "token-labels-unrelated",
        "note",
        ["0.4 standard"],
        dict(pairing__token_signal=0.4),
        [dict(pairing__token_signal=3.0), dict(pairing__token_signal=None), dict(pairing=None)],
    ),
    Case(
        inputs.check_added_tokens_frozen,
        "added-tokens-frozen",
        "warning",
        ["2 id(s)", "30521, 30522", "4.0%"],
        dict(inputs__untrained_ids=[30521, 30522], inputs__untrained_share=0.04),
        [dict(inputs__untrained_ids=[]), dict(weights__has_adapters=True), dict(inputs=None)],
    ),
    # -- metrics ---------------------------------------------------------------------------------------------------
    Case(
        metrics.check_metric_not_wrapped,
        "metric-not-wrapped",
        "error",
        ["accuracy stands"],
        dict(wiring__bare_metrics=["accuracy"]),
        [dict(wiring__bare_metrics=[]), dict(wiring=None)],
    ),
    Case(
        metrics.check_metric_fails,
        "metric-fails",
        "error",
        ["AssertionError: 2 32", "(32, 2) and (32,)"],
        dict(metric__error="AssertionError: 2 32", metric__shapes="(32, 2) and (32,)"),
        [dict(metric__error="")],
    ),
    Case(
        metrics.check_metric_ignores_predictions,
        "metric-ignores-predictions",
        "warning",
        ["accuracy is 0.9"],
        SAME,
        [
            dict(metric__at_ideal=0.91),
            dict(metric__at_worst=0.89),
            dict(metric__at_random=0.8),
            dict(metric__at_ideal=None),
            dict(labels__valid_constant=True),
            dict(metric__distinct_targets=1),
            dict(metrics=[]),
        ],
    ),
    Case(
        metrics.check_metric_of_another_epoch,
        "metric-of-another-epoch",
        "warning",
        ["0.6 in a first", "0.7 after"],
        dict(metric__after_another_epoch=0.7),
        [
            dict(metric__after_another_epoch=0.6 + 1e-7),
            dict(metric__in_first_epoch=None),
            dict(metric__after_another_epoch=None),
            dict(metrics=[]),
        ],
    ),
    Case(
        metrics.check_metric_wrong_axis,
        "metric-wrong-axis",
        "warning",
        ["halves"],
        dict(metric__at_ideal=1.0, metric__ideal_on_halves=[0.2, 0.4, 1.0]),
        [
            dict(metric__ideal_on_halves=[1.0, 1.0, 1.0]),
            dict(metric__ideal_on_halves=[0.8, 1.2, 1.0]),
            dict(metric__ideal_on_halves=[]),
            dict(metric__ideal_on_halves=[0.5, 0.505, 1.0]),
        ],
    ),
    Case(
        metrics.check_metric_wrong_axis,
        "metric-wrong-axis",
        "warning",
        ["0.3 for some", "0.4 for the same", "another order"],
        dict(metric__with_rows_reordered=[(1.0, 1.0), (0.3, 0.4)]),
        [dict(metric__with_rows_reordered=[(1.0, 1.0), (0.3, 0.3 + 1e-6)]), dict(metric__with_rows_reordered=[])],
    ),
    Case(
        metrics.check_metric_wrong_axis,
        "metric-wrong-axis",
        "warning",
        ["0.3 for some", "each comes twice"],
        dict(metric__with_rows_repeated=[(1.0, 1.0), (0.3, 0.4)]),
        [
            dict(metric__with_rows_repeated=[(8.0, 16.0), (3.0, 6.0)]),
            dict(metric__with_rows_repeated=[]),
            dict(metric__with_rows_repeated=[(0.0, 0.0), (3.0, 6.0)]),
            dict(metric__with_rows_repeated=[(1.0, 1.0), (0.3, 0.3)]),
        ],
    ),
    Case(
        metrics.check_metric_wrong_axis,
        "metric-wrong-axis",
        "warning",
        ["0.5 when a number", "a row alone"],
        dict(metric__at_random=0.3, metric__with_rows_shifted=0.5, metric__on_single_rows=[(0.0, 0.0), (1.0, 1.0)]),
        [
            dict(metric__with_rows_shifted=0.3),
            dict(metric__with_rows_shifted=None),
            dict(metric__on_single_rows=[]),
            dict(metric__on_single_rows=[(0.0, 0.0), (1.0, 0.0)]),
        ],
    ),
    Case(
        metrics.check_metric_at_other_positions,
        "metric-at-other-positions",
        "warning",
        ["0 position(s) on", "the one 1 on"],
        dict(pairing__ahead=1, metric__ahead=0),
        [dict(metric__ahead=1), dict(metric__ahead=None), dict(pairing__ahead=None), dict(pairing=None)],
    ),
    Case(
        metrics.check_metric_counts_padding,
        "metric-counts-padding",
        "warning",
        ["0.6 for", "0.3 with"],
        dict(metric__with_left_out=(0.6, 0.3)),
        [dict(metric__with_left_out=(0.6, 0.6)), dict(metric__with_left_out=None)],
    ),
    Case(
        metrics.check_metric_at_base_rate,
        "metric-at-base-rate",
        "note",
        ["0.407500", "(0.400000) while"],
        dict(metric__value=0.4075),
        [
            dict(history=None),
            dict(metric__value=0.4076),
            dict(metric__value=None),
            dict(metric__base_rate=None),
            dict(metrics=[]),
        ],
    ),
]
every_case = pytest.mark.parametrize("case", CASES, ids=case_id)


@every_case
def test_it_fires_with_its_cause_its_severity_and_its_figures(case):
    figures_shown_by(case)


@every_case
def test_it_is_silent_on_the_nearest_healthy_evidence(case):
    assert case.silent
    stays_silent(case)


# -- corners -------------------------------------------------------------------------------------------------------


def test_a_mask_that_works_is_no_finding_whatever_it_marks():
    assert findings_of(inputs.check_attention_mask_wrong, evidence_with(inputs__mask_marks_padding=0.1)) == []


def test_a_metric_at_the_base_rate_does_not_claim_learning_that_was_not_seen():
    (finding,) = findings_of(
        metrics.check_metric_at_base_rate, evidence_with(metric__value=0.4, history__losses=[0.9, 0.9, 1.0, 1.1])
    )
    assert "while" not in finding.message
    assert (
        findings_of(metrics.check_metric_at_base_rate, evidence_with(metric__value=0.4, history=None)) == []
    )  # any model is near it before


def test_a_model_that_says_one_class_of_all_rows_after_a_fit_stands_at_a_constants_score():
    (finding,) = findings_of(
        metrics.check_metric_at_base_rate, evidence_with(metric__value=0.3, metric__distinct_predictions=1)
    )
    assert "0.300000" in finding.message and "(the model says one class of all 200 rows) while" in finding.message
    assert (
        findings_of(
            metrics.check_metric_at_base_rate,
            evidence_with(metric__value=0.3, metric__distinct_predictions=1, history=None),
        )
        == []
    )
    assert (
        findings_of(metrics.check_metric_at_base_rate, evidence_with(metric__value=0.3, metric__distinct_predictions=2))
        == []
    )


def test_labels_that_no_word_predicts_are_told_of_the_rows_that_were_looked_at():
    nothing = dict(labels__signal_within_train=0.5, labels__signal_together=0.5)
    (finding,) = findings_of(
        labels.check_labels_unrelated_to_texts, evidence_with(labels__signal_within_valid=0.5, **nothing)
    )
    assert "400 training rows (area 0.50 +- 0.02), nor surely among 200 validation rows (0.50" in finding.message
    (finding,) = findings_of(
        labels.check_labels_unrelated_to_texts, evidence_with(labels__signal_within_valid=None, **nothing)
    )
    assert "400 training rows (area 0.50 +- 0.02) (chance .50)" in finding.message


def test_each_of_several_metrics_has_its_finding():
    evidence = evidence_with(metric__value=0.4)
    evidence.metrics *= 2
    assert len(findings_of(metrics.check_metric_at_base_rate, evidence)) == 2


def test_an_error_rate_falls_where_accuracy_rises_and_is_on_the_right_axis():
    assert findings_of(metrics.check_metric_wrong_axis, evidence_with(metric__at_ideal=0.0, metric__at_worst=1.0)) == []


# Once: a batch that cannot be fitted because the loss became NaN is not one that "leaves the loss" where it was.
def test_a_fit_that_diverged_is_not_one_that_moved_nothing():
    assert findings_of(outputs.check_cannot_fit_one_batch, evidence_with(loss__after_fitting=NAN)) == []


# Once: an area that is not a number (no rank correlation can be made) counts as none above chance.
def test_a_signal_that_is_no_number_says_nothing():
    nothing = dict(labels__signal_within_train=NAN, labels__signal_within_valid=NAN, labels__signal_together=NAN)
    assert findings_of(labels.check_labels_unrelated_to_texts, evidence_with(**nothing)) == []


# Once: max() of no shares, where every target that was sampled is to be ignored (-100).
def test_targets_without_any_share_break_nothing():
    assert (
        findings_of(
            labels.check_validation_one_class, evidence_with(labels__valid_constant=True, labels__train_shares=[])
        )
        == []
    )
