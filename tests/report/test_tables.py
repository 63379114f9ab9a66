"""The page's tables: both arms' epochs, and an examination's figures."""

from dataclasses import replace

from fastai_hf_callback.comparison.comparison import build_comparison
from fastai_hf_callback.report.tables import MAX_ROWS, Cell, build_epoch_table, build_evidence_rows, build_metric_rows
from tests.recorded_evidence import evidence_with, healthy
from tests.report.example_comparisons import different, long, moved
from tests.tiny_models import make_broken_trace, make_trace


def test_a_row_per_evaluation_with_the_train_loss_of_its_epoch_and_base_rates_below():
    names, rows, base_rates = build_epoch_table(moved())
    assert names == ["train_loss", "valid_loss", "accuracy"] and base_rates == ["-", "-", "0.520000"]
    assert [row.position for row in rows] == ["before training", "epoch 0", "epoch 1"]
    assert [cell.text for cell in rows[1].cells] == ["0.800000", "0.600000", "0.700000"]
    assert rows[0].cells[0] == Cell("-") and not any(row.differs_here for row in rows)


def test_where_the_arms_differ_both_are_told_to_the_last_digit():
    _, rows, _ = build_epoch_table(different())
    assert rows[1].cells[0] == Cell("0.800000") and rows[2].cells[0] == Cell("0.4", "0.45")


def test_the_row_where_the_arms_part_is_marked():
    patched = make_trace("patched", valid=(0.8, 0.6, 0.41))
    _, rows, _ = build_epoch_table(build_comparison([make_trace("callback"), patched, make_broken_trace()]))
    assert [row.differs_here for row in rows] == [False, False, True]


def test_fits_are_named_where_there_are_several():
    trace = make_trace("callback")
    again = [replace(epoch, fit=1) for epoch in trace.epochs]
    _, rows, _ = build_epoch_table(build_comparison([replace(trace, epochs=[*trace.epochs, *again])]))
    assert [row.position for row in rows][1:4] == ["fit 0, epoch 0", "fit 0, epoch 1", "fit 1, epoch 0"]


def test_of_many_epochs_the_ends_are_kept_and_the_one_where_the_arms_part():
    _, rows, _ = build_epoch_table(long())
    assert len(rows) == MAX_ROWS + 1 and [row.position for row in rows if not row.cells] == ["... 61 more"]

    def trace(arm, at=None):
        made = make_trace(arm)
        return replace(made, epochs=[replace(made.epochs[0], epoch=e, valid_loss=0.5 + (e == at)) for e in range(100)])

    _, rows, _ = build_epoch_table(build_comparison([trace("callback", 50), trace("patched")]))
    (here,) = [i for i, row in enumerate(rows) if row.differs_here]
    assert rows[here].position == "epoch 50" and rows[here].cells[1] == Cell("1.5", "0.5")
    assert rows[here - 1].position == "... 31 more" and rows[here + 1].position == "... 29 more"


def test_a_metric_stands_beside_its_base_rate():
    assert build_metric_rows(healthy()) == [["accuracy", "0.600000", "0.400000", "1.000000", "0.000000"]]
    assert build_metric_rows(evidence_with(metric__base_rate=None))[0][2] == "-"


def test_every_figure_is_there_by_its_path_and_long_lists_are_cut():
    rows = dict(build_evidence_rows(evidence_with(history__losses=[0.5] * 100)))
    assert rows["graph.reached"] == "39" and rows["metrics[0].name"] == "accuracy"
    assert rows["history.losses"] == ", ".join(["0.5"] * 12) + ", ... (100 in all)"
    assert rows["history.metrics.accuracy"] == "0.5, 0.6" and rows["outputs.shape"] == "8, 3"
    assert "wiring.patch" not in rows, "what was not seen is no figure"
