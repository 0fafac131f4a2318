"""What the paper's Tables 1, 2 and 3 report, with the rows of a run beside it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.configuration import Configuration
from pipeline.rows import Row
from pipeline.run_paths import RunPaths
from pipeline.tables import read_table
from tasks.settings import IMAGE_TASK, LANGUAGE_TASK


@dataclass(frozen=True)
class Comparison:
    """A table of the paper: its rows, and those of this run after them."""

    title: str
    columns: tuple[str, ...]
    published: tuple[tuple[str, ...], ...]
    ours: tuple[tuple[str, ...], ...]


TABLE_1 = (  # CIFAR-10, test error in percent
    ("Network in Network (Lin et al., 2013)", "–", "–", "8.81"),
    ("All-CNN (Springenberg et al., 2014)", "–", "–", "7.25"),
    ("Deeply Supervised Net (Lee et al., 2015)", "–", "–", "7.97"),
    ("Highway Network (Srivastava et al., 2015)", "–", "–", "7.72"),
    ("Scalable Bayesian Optimization (Snoek et al., 2015)", "–", "–", "6.37"),
    ("FractalNet (Larsson et al., 2016)", "21", "38.6M", "5.22"),
    ("FractalNet with dropout and drop-path", "21", "38.6M", "4.60"),
    ("ResNet (He et al., 2016a)", "110", "1.7M", "6.61"),
    ("ResNet (reported by Huang et al., 2016c)", "110", "1.7M", "6.41"),
    ("ResNet with stochastic depth (Huang et al., 2016c)", "110", "1.7M", "5.23"),
    ("ResNet with stochastic depth (Huang et al., 2016c)", "1202", "10.2M", "4.91"),
    ("Wide ResNet (Zagoruyko & Komodakis, 2016)", "16", "11.0M", "4.81"),
    ("Wide ResNet (Zagoruyko & Komodakis, 2016)", "28", "36.5M", "4.17"),
    ("ResNet, pre-activation (He et al., 2016b)", "164", "1.7M", "5.46"),
    ("ResNet, pre-activation (He et al., 2016b)", "1001", "10.2M", "4.62"),
    ("DenseNet, L = 40, k = 12 (Huang et al., 2016a)", "40", "1.0M", "5.24"),
    ("DenseNet, L = 100, k = 12 (Huang et al., 2016a)", "100", "7.0M", "4.10"),
    ("DenseNet, L = 100, k = 24 (Huang et al., 2016a)", "100", "27.2M", "3.74"),
    ("DenseNet-BC, L = 100, k = 40 (Huang et al., 2016b)", "190", "25.6M", "3.46"),
    ("Neural Architecture Search v1, no stride or pooling", "15", "4.2M", "5.50"),
    ("Neural Architecture Search v2, predicting strides", "20", "2.5M", "6.01"),
    ("Neural Architecture Search v3, max pooling", "39", "7.1M", "4.47"),
    ("Neural Architecture Search v3, max pooling and more filters", "39", "37.4M", "3.65"),
)
TABLE_2 = (  # Penn Treebank, test perplexity
    ("KN-5 (Mikolov & Zweig, 2012)", "2M", "141.2"),
    ("KN5 + cache (Mikolov & Zweig, 2012)", "2M", "125.7"),
    ("RNN (Mikolov & Zweig, 2012)", "6M", "124.7"),
    ("RNN-LDA (Mikolov & Zweig, 2012)", "7M", "113.7"),
    ("RNN-LDA + KN-5 + cache (Mikolov & Zweig, 2012)", "9M", "92.0"),
    ("Deep RNN (Pascanu et al., 2013)", "6M", "107.5"),
    ("Sum-Prod Net (Cheng et al., 2014)", "5M", "100.0"),
    ("LSTM, medium (Zaremba et al., 2014)", "20M", "82.7"),
    ("LSTM, large (Zaremba et al., 2014)", "66M", "78.4"),
    ("Variational LSTM, medium, untied (Gal, 2015)", "20M", "79.7"),
    ("Variational LSTM, medium, untied, MC (Gal, 2015)", "20M", "78.6"),
    ("Variational LSTM, large, untied (Gal, 2015)", "66M", "75.2"),
    ("Variational LSTM, large, untied, MC (Gal, 2015)", "66M", "73.4"),
    ("CharCNN (Kim et al., 2015)", "19M", "78.9"),
    ("Variational LSTM, shared embeddings (Press & Wolf, 2016)", "51M", "73.2"),
    ("Zoneout + Variational LSTM, medium (Merity et al., 2016)", "20M", "80.6"),
    ("Pointer Sentinel-LSTM, medium (Merity et al., 2016)", "21M", "70.9"),
    ("VD-LSTM + REAL, large (Inan et al., 2016)", "51M", "68.5"),
    ("Variational RHN, shared embeddings (Zilly et al., 2016)", "24M", "66.0"),
    ("Neural Architecture Search with base 8", "32M", "67.9"),
    ("Neural Architecture Search with base 8 and shared embeddings", "25M", "64.0"),
    ("Neural Architecture Search with base 8 and shared embeddings", "54M", "62.4"),
)


TABLE_3 = (  # Penn Treebank's characters, test bits per character
    ("Layer Norm HyperLSTM (Ha et al., 2016)", "4.92M", "1.250"),
    ("Layer Norm HyperLSTM, large embeddings (Ha et al., 2016)", "5.06M", "1.233"),
    ("2-layer Norm HyperLSTM (Ha et al., 2016)", "14.41M", "1.219"),
    ("Two-layer LSTM", "6.57M", "1.243"),
    ("Two layers with the new cell", "6.57M", "1.228"),
    ("Two layers with the new cell", "16.28M", "1.214"),
)


def comparisons_with_paper(paths: RunPaths, configuration: Configuration, best: Row) -> Iterator[Comparison]:
    """The paper's tables for the data of a run. Test figures are those of tables `final` and `transfer_characters`."""
    if configuration.data.dataset == "cifar10" and configuration.child.task == IMAGE_TASK:
        tests = _tested(paths, "final", "test_metric")
        samples = read_table(paths, "samples", ["trial_id", "depth", "architecture"]).to_pylist()
        sample_of = {row["trial_id"]: row for row in samples}
        ours = [("best child of the search, validation", best, best["metric"])]
        ours += [(f"test{_wider(row)}", row, row["test_metric"]) for row in tests]
        rows = tuple(
            (f"this run, {name}", _layers(sample_of[row["trial_id"]]), _millions(row["parameters"]), _error(metric))
            for name, row, metric in ours
        )
        title = "Table 1: test error on CIFAR-10"
        yield Comparison(title, ("model", "depth", "parameters", "error (%)"), TABLE_1, rows)
    if configuration.child.task == LANGUAGE_TASK:
        found = [("this run, best child of the search, validation", best["parameters"], best["metric"])]
        tests = _tested(paths, "final", "test_metric")
        found += [("this run, test", row["parameters"], row["test_metric"]) for row in tests]
        told = tuple((name, _millions(size), f"{metric:.1f}") for name, size, metric in found)
        title = "Table 2: test perplexity on Penn Treebank"
        yield Comparison(title, ("model", "parameters", "perplexity"), TABLE_2, told)
        trained = _tested(paths, "transfer_characters", "test_bits")
        cells = tuple(
            (f"this run, {row['cell']}", _millions(row["parameters"]), f"{row['test_bits']:.3f}") for row in trained
        )
        if cells:
            title = "Table 3: characters of Penn Treebank"
            yield Comparison(title, ("cell", "parameters", "bits per character"), TABLE_3, cells)


def _error(accuracy: float) -> str:
    """In percent."""
    return f"{100 * (1 - accuracy):.2f}"


def _layers(sample: Row) -> str:
    """The layers of a network: a search for blocks decides about one block of each."""
    architecture = json.loads(sample["architecture"])
    layers = architecture.get("layers") if isinstance(architecture, dict) else None
    return str(len(layers) if isinstance(layers, list) else sample["depth"])


def _wider(row: Row) -> str:
    return f", {row['more_filters']} more filters a layer" if row["more_filters"] else ""


def _tested(paths: RunPaths, table: str, figure: str) -> list[Row]:
    """Rows of a table that have a figure of the test split."""
    return [row for row in read_table(paths, table).to_pylist() if row[figure] is not None]


def _millions(parameters: int | None) -> str:
    if parameters is None:
        return "–"
    return f"{parameters / 1e6:.1f}M" if parameters >= 1e5 else f"{parameters:,}"
