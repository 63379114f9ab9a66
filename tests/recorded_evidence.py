"""Recorded evidence of a healthy run, and the same with single figures changed. Imports no torch."""

from dataclasses import replace

from fastai_hf_callback.results.evidence import (
    Evidence,
    Graph,
    History,
    HyperParams,
    Inputs,
    Labels,
    LossBehavior,
    Outputs,
    Precision,
    Stepping,
    Weights,
    Wiring,
)
from fastai_hf_callback.results.metric_evidence import MetricEvidence
from fastai_hf_callback.results.numeric_inputs import NumericInputs, Values
from fastai_hf_callback.results.pairing import Pairing
from fastai_hf_callback.results.probes import MADE, begin_probes

PARTS = (
    "wiring",
    "graph",
    "stepping",
    "hyper",
    "outputs",
    "loss",
    "inputs",
    "labels",
    "weights",
    "precision",
    "history",
)


def all_made(in_fit=False):
    """Return what became of all probes where each was made."""
    outcomes = begin_probes(in_fit)
    for outcome in outcomes.values():
        outcome.settle(MADE)
    return outcomes


def with_outcome(name, state, reason="", advice="", cause=""):
    """Return the same, and what became of one of them."""
    outcomes = all_made()
    outcomes[name].settle(state, reason, advice, cause)
    return outcomes


def healthy():
    """Return the evidence of a three-class BERT that learns; none of its figures is near a limit."""
    return Evidence(
        wiring=Wiring(hf_callback=True),
        pairing=Pairing(reads_targets=True),
        graph=Graph(
            registered=41,
            trainable=40,
            reached=39,
            reached_by_output=39,
            hidden=0,
            foreign=0,
            opaque=0,
            output_has_graph=True,
            loss_has_graph=True,
            head_trainable=True,
            head_unreached=False,
        ),
        stepping=Stepping(
            steps=4,
            steps_in_an_epoch=10,
            steps_simulated=10,
            trainable=40,
            with_gradient=39,
            in_optimizer=40,
            in_layer_groups=40,
            moved=39,
            update=1e-3,
            decay_over_gradient=0.01,
            gradient_norms=[1.5, 1.0],
            loss_factor=1.0,
            clip_ratio=1.0,
            lr_in_force=1e-4,
            executed_elements=1000,
            executed_unreached=10,
            executed_unreached_names=["pooler.weight", "pooler.bias"],
        ),
        hyper=HyperParams(
            lr=3e-5,
            wd=0.01,
            source="the highest of the last fit",
        ),
        outputs=Outputs(
            shape=(8, 3),
            target_shape=(8,),
            rows=8,
            finite=True,
            lowest=-1.25,
            highest=1.5,
            spread=0.5,
            size=1.5,
            changes_with_tokens=0.8,
            changes_with_padding=1e-6,
            hidden_size=16,
            num_labels=3,
            broadcasts=False,
        ),
        loss=LossBehavior(
            first=1.1,
            constant=1.09,
            at_ideal=1e-4,
            at_worst=10.0,
            shift_invariant=True,
            before_fitting=1.1,
            after_fitting=0.7,
            fitting_steps=8,
        ),
        inputs=Inputs(
            rows=32,
            length=12,
            distinct_ids=40,
            pad_token_id=0,
            pad_share=0.2,
            pad_side="back",
            embedding_pad_id=0,
            config_pad_id=0,
            first_token=2,
            first_token_in_front=1.0,
            mask_given=True,
            mask_marks_padding=1.0,
            mask_argument_given=True,
            top_token=7,
            top_token_share=0.05,
            second_position_share=0.1,
            second_position_token=9,
            words=200,
            distinct_words=38,
            distinct_rows=32,
            truncated_share=0.1,
            mean_length=9.0,
        ),
        labels=Labels(
            kind="classes",
            train_rows=400,
            valid_rows=200,
            train_shares=[0.4, 0.3, 0.3],
            order_z=0.3,
            signal_within_train=0.8,
            signal_within_valid=0.8,
            signal_together=0.82,
            error_within_train=0.02,
            error_within_valid=0.02,
            error_together=0.02,
        ),
        weights=Weights(parameters=40, body_at_init=False, body_trainable=True, gain=1.1, elements=20_000),
        metrics=[
            MetricEvidence(
                "accuracy",
                value=0.6,
                base_rate=0.4,
                at_ideal=1.0,
                at_worst=0.0,
                at_random=0.3,
                at_other_random=0.35,
                ideal_on_halves=[1.0, 1.0],
                after_another_epoch=0.6,
                in_first_epoch=0.6,
                resolution=0.005,
                rows=200,
                distinct_predictions=3,
            )
        ],
        precision=Precision(loss_scale=65536.0, steps=4, overflows=0),
        history=History(losses=[1.1, 1.0, 0.95, 0.9], metrics={"accuracy": [0.5, 0.6]}),
        probes=all_made(),
        seconds=1.25,
    )


def pixels():
    """Return what was seen of images, normalized, to which the outputs answer."""
    values = Values(lowest=-2.1, highest=2.6, mean=0.02, std=1.0, contrast=0.9)
    return NumericInputs("pixel_values", "pixels", (3, 16, 16), 64, 64, 0, 0, values, answer=1.2)


def evidence_with(**changes):
    """Change :func:`healthy`: ``graph__trainable=0`` sets a figure, ``graph=None`` a whole part.

    ``metric__`` is the prefix of the only metric's figures, ``pixels__`` that of images which then are an input, too.
    """
    evidence = healthy()
    for name, value in changes.items():
        part, _, figure = name.partition("__")
        if part == "pixels":
            evidence.numeric_inputs = [replace(one, **{figure: value}) for one in evidence.numeric_inputs or [pixels()]]
        elif part == "metric":
            evidence.metrics = [replace(evidence.metrics[0], **{figure: value})]
        else:
            setattr(evidence, part, replace(getattr(evidence, part), **{figure: value}) if figure else value)
    return evidence
