"""The page's tables: both arms' epochs, and an examination's figures."""
from dataclasses import replace

from fastai_hf_callback.comparison.comparison import compare_traces
from fastai_hf_callback.report.tables import MOST_ROWS, Cell, epoch_table, evidence_rows, metric_rows
from tests.recorded_evidence import healthy, seen
from tests.report.example_comparisons import different, long, moved
from tests.tiny_models import a_broken_trace, a_trace


def test_a_row_per_evaluation_with_the_train_loss_of_its_epoch_and_base_rates_below():
    names, rows, base_rates = epoch_table(moved())
    assert names == ["train_loss", "valid_loss", "accuracy"] and base_rates == ["-", "-", "0.520000"]
    assert [row.place for row in rows] == ["before training", "epoch 0", "epoch 1"]
    assert [cell.text for cell in rows[1].cells] == ["0.800000", "0.600000", "0.700000"]
    assert rows[0].cells[0] == Cell("-") and not any(row.parts_here for row in rows)


def test_where_the_arms_differ_both_are_told_to_the_last_digit():
    _, rows, _ = epoch_table(different())
    assert rows[1].cells[0] == Cell("0.800000") and rows[2].cells[0] == Cell("0.4", "0.45")


def test_the_row_where_the_arms_part_is_marked():
    patched = a_trace("patched", valid=(0.8, 0.6, 0.41))
    _, rows, _ = epoch_table(compare_traces([a_trace("callback"), patched, a_broken_trace()]))
    assert [row.parts_here for row in rows] == [False, False, True]


def test_fits_are_named_where_there_are_several():
    trace = a_trace("callback")
    again = [replace(epoch, fit=1) for epoch in trace.epochs]
    _, rows, _ = epoch_table(compare_traces([replace(trace, epochs=[*trace.epochs, *again])]))
    assert [row.place for row in rows][1:4] == ["fit 0, epoch 0", "fit 0, epoch 1", "fit 1, epoch 0"]


def test_of_many_epochs_the_ends_are_kept_and_the_one_where_the_arms_part():
    _, rows, _ = epoch_table(long())
    assert len(rows) == MOST_ROWS + 1 and [row.place for row in rows if not row.cells] == ["... 61 more"]

    def trace(arm, at=None):
        made = a_trace(arm)
        return replace(made, epochs=[replace(made.epochs[0], epoch=e, valid_loss=0.5 + (e == at)) for e in range(100)])

    _, rows, _ = epoch_table(compare_traces([trace("callback", 50), trace("patched")]))
    (here,) = [i for i, row in enumerate(rows) if row.parts_here]
    assert rows[here].place == "epoch 50" and rows[here].cells[1] == Cell("1.5", "0.5")
    assert rows[here - 1].place == "... 31 more" and rows[here + 1].place == "... 29 more"


def test_a_metric_stands_beside_its_base_rate():
    assert metric_rows(healthy()) == [["accuracy", "0.600000", "0.400000", "1.000000", "0.000000"]]
    assert metric_rows(seen(metric__base_rate=None))[0][2] == "-"


def test_every_figure_is_there_by_its_path_and_long_lists_are_cut():
    rows = dict(evidence_rows(seen(history__losses=[0.5] * 100)))
    assert rows["graph.reached"] == "39" and rows["metrics[0].name"] == "accuracy"
    assert rows["history.losses"] == ", ".join(["0.5"] * 12) + ", ... (100 in all)"
    assert rows["history.metrics.accuracy"] == "0.5, 0.6" and rows["outputs.shape"] == "8, 3"
    assert "wiring.patch" not in rows, "what was not seen is no figure"
