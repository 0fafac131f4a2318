"""The Parquet tables of a run, declared once: columns, types, meaning and key."""

import json
from dataclasses import dataclass

import pyarrow as pa

SCHEMA_VERSION = 1
CATEGORY = pa.dictionary(pa.int32(), pa.string())


@dataclass(frozen=True)
class TableSchema:
    """A table whose rows are identified by the columns in `key`; whole numbers in `sparse` are missing in some rows."""

    name: str
    row: str
    key: tuple[str, ...]
    columns: tuple[tuple[str, pa.DataType, str], ...]  # name, type, meaning
    sparse: tuple[str, ...] = ()

    @property
    def arrow(self) -> pa.Schema:
        fields = [pa.field(name, kind, metadata={"meaning": meaning}) for name, kind, meaning in self.columns]
        metadata = {"wavenas.table": self.name, "wavenas.schema_version": str(SCHEMA_VERSION)}
        return pa.schema(fields, metadata={**metadata, "pandas": json.dumps(self._for_pandas())})

    def _for_pandas(self) -> dict[str, object]:
        """What makes pandas read sparse whole numbers as Int64, where it would take floating point otherwise."""
        sparse = [
            {"name": name, "field_name": name, "pandas_type": "int64", "numpy_type": "Int64", "metadata": None}
            for name in self.sparse
        ]
        return {"index_columns": [], "column_indexes": [], "columns": sparse}


SAMPLES = TableSchema(
    "samples",
    "an architecture drawn",
    ("trial_id",),
    (
        ("trial_id", pa.int64(), "number of the trial within the run, from 0"),
        ("wave", pa.int64(), "wave, or minibatch of an asynchronous replica, that it was drawn in, from 0"),
        ("replica", pa.int64(), "controller replica that drew it, from 0"),
        ("index", pa.int64(), "place within the wave, from 0"),
        ("depth", pa.int64(), "layers asked for"),
        (
            "tokens",
            pa.list_(pa.int64()),
            "the decisions: an index into the values of a choice, or a bit mask of inputs",
        ),
        ("architecture", pa.string(), "the architecture as JSON"),
        ("architecture_hash", pa.string(), "the same for architectures that compute the same"),
        ("log_prob", pa.float64(), "log-probability of drawing it, in nats; missing for evolution"),
        ("policy_version", pa.int64(), "steps that the policy had taken when it drew it"),
        ("seed", pa.int64(), "seed of the child's weights and of what is random in its training"),
    ),
)
RESULTS = TableSchema(
    "results",
    "a child that ended",
    ("trial_id",),
    (
        ("trial_id", pa.int64(), "trial"),
        ("wave", pa.int64(), "wave or minibatch it belongs to"),
        ("status", CATEGORY, "ok, diverged, too_large, invalid, failed, out_of_memory, timed_out or lost_worker"),
        (
            "reward",
            pa.float64(),
            "search.reward_scale times the metric to the power of search.reward_power; 0 unless ok",
        ),
        (
            "metric",
            pa.float64(),
            "validation accuracy or perplexity, or what else the reward is made of; missing unless ok",
        ),
        ("parameters", pa.int64(), "weights that are trained"),
        (
            "flops",
            pa.int64(),
            "floating point operations of one forward pass of an image or a token; a multiply-add is two",
        ),
        ("seconds", pa.float64(), "from start to end on the worker"),
        ("epochs", pa.int64(), "epochs trained"),
        ("worker", CATEGORY, "host and process that trained it"),
        ("device", CATEGORY, "device it was trained on"),
        ("precision", CATEGORY, "number format of its products: float32 or bfloat16"),
        ("micro_batch", pa.int64(), "images, or columns of text, whose gradient was computed at a time"),
        ("attempts", pa.int64(), "times its training was begun, since the driver was started"),
        (
            "reused_from",
            pa.int64(),
            "first trial of the same architecture, whose result this is or is averaged with; else missing",
        ),
        ("error", pa.string(), "traceback or reason of a failure, of each attempt"),
        ("ended_at", pa.timestamp("us", tz="UTC"), "when the driver took the result in"),
    ),
    sparse=("parameters", "flops", "micro_batch", "reused_from"),
)
EPOCHS = TableSchema(
    "epochs",
    "an epoch of a child",
    ("trial_id", "epoch"),
    (
        ("trial_id", pa.int64(), "trial"),
        ("epoch", pa.int64(), "epoch, from 0"),
        ("train_loss", pa.float64(), "mean cross-entropy in nats while training"),
        ("train_metric", pa.float64(), "accuracy, of text perplexity, while training"),
        ("validation_loss", pa.float64(), "mean cross-entropy in nats on the validation examples"),
        ("validation_metric", pa.float64(), "accuracy, of text perplexity, on the validation examples"),
        ("learning_rate", pa.float64(), "rate of the epoch"),
        ("seconds", pa.float64(), "training and validation together"),
        ("examples_per_second", pa.float64(), "images or tokens trained on a second"),
    ),
)
UPDATES = TableSchema(
    "updates",
    "a step of the controller",
    ("update",),
    (
        ("update", pa.int64(), "step, or gradient of an asynchronous replica, from 0"),
        ("wave", pa.int64(), "wave or minibatch whose rewards it is made of"),
        ("replica", pa.int64(), "controller replica that sent it; 0 where a wave makes one step"),
        ("baseline", pa.float64(), "moving average of earlier rewards that was subtracted"),
        ("mean_reward", pa.float64(), "mean reward of the wave"),
        ("best_reward", pa.float64(), "best reward of the wave"),
        (
            "entropy",
            pa.float64(),
            "mean entropy of an architecture under the controller, in nats; else missing",
        ),
        ("gradient_norm", pa.float64(), "Euclidean norm of the policy gradient; missing without a controller"),
        ("duplicates", pa.float64(), "share of the wave's architectures that had been drawn before"),
        ("num_ok", pa.int64(), "children that took part in the gradient"),
        ("num_failed", pa.int64(), "children that did not"),
        ("policy_version", pa.int64(), "steps taken, that of this row included"),
        ("staleness", pa.int64(), "steps taken by others between the sampling and this step; 0 in waves"),
        ("seconds", pa.float64(), "from the start of the wave or minibatch, or of its resumption, to this step"),
    ),
)
SPARSE = tuple(name for name in RESULTS.sparse if name != "reused_from")
OUTCOME = tuple(column for column in RESULTS.columns if column[0] not in ("wave", "reused_from"))


def stage(
    name: str,
    row: str,
    columns: tuple[tuple[str, pa.DataType, str], ...],
    sparse: tuple[str, ...] = (),
) -> tuple[TableSchema, TableSchema]:
    """The table of a stage after the search, with columns of its own, and that of the epochs of its trainings."""
    number = ("training", pa.int64(), "number of the training within the stage, from 0")
    told = (
        ("fingerprint", pa.string(), "the same for trainings that are made of the same"),
        ("name", pa.string(), "the training in words"),
        ("weights", pa.string(), "file in the run folder with the trained weights; missing where they were not kept"),
    )
    main = TableSchema(name, row, ("training",), (number, *told, *columns, *OUTCOME), (*SPARSE, *sparse))
    return main, TableSchema(
        epochs_of(name), "an epoch of a training", ("training", "epoch"), (number, *EPOCHS.columns[1:])
    )


def epochs_of(name: str) -> str:
    """The table with the epochs of a stage."""
    return f"{name}_epochs"


def stage_tables(name: str) -> tuple[str, str]:
    """The names of a stage's two tables."""
    return name, epochs_of(name)


SEARCH_TABLES = ("samples", "results", "epochs", "updates")
FINAL = stage(
    "final",
    "a training after the search, or the test",
    (
        (
            "step",
            CATEGORY,
            "grid: the search for hyperparameters; long: until convergence; test: the test split, read once",
        ),
        ("settings", pa.string(), "settings that are not the search's, as JSON"),
        ("more_filters", pa.int64(), "filters added to each layer"),
        ("tested", pa.int64(), "training whose weights were tested; missing but for the test"),
        ("test_loss", pa.float64(), "mean cross-entropy in nats on the test split; missing but for the test"),
        ("test_metric", pa.float64(), "accuracy, of text perplexity, on the test split; missing but for the test"),
    ),
    sparse=("tested",),
)
ABLATIONS = stage(
    "ablations",
    "a training of the network found or of a variant",
    (
        ("variant", CATEGORY, "found, dense, no_skips or perturbed"),
        ("position", pa.int64(), "token of the network found that is changed, from 0; missing unless perturbed"),
        ("decision", CATEGORY, "the name of the decision changed; missing unless perturbed"),
        ("before", pa.string(), "its value in the network found, as JSON; missing unless perturbed"),
        ("after", pa.string(), "its value in this one, as JSON; missing unless perturbed"),
        ("repetition", pa.int64(), "which seed, from 0"),
        ("architecture", pa.string(), "the architecture as JSON"),
        ("architecture_hash", pa.string(), "the same for architectures that compute the same"),
    ),
    sparse=("position",),
)
OF_TRANSFERS = (
    ("cell", CATEGORY, "the cell by name: trial of the search, NASCell, LSTM, RNN or the name of a file"),
    ("architecture", pa.string(), "the cell as JSON"),
    ("repetition", pa.int64(), "which seed, from 0"),
    ("settings", pa.string(), "settings of the model and of its training, as JSON"),
    ("data", pa.string(), "folder of the prepared data, named by a hash of the files and of how they are cut"),
    ("test_opened_at", pa.timestamp("us", tz="UTC"), "when the test split was read for this training, once"),
)
TRANSFER_CHARACTERS = stage(
    "transfer_characters",
    "a training of a cell on characters",
    (
        *OF_TRANSFERS,
        ("validation_bits", pa.float64(), "bits per character of the validation text, at the epoch with the fewest"),
        ("test_bits", pa.float64(), "bits per character of the test text, with the weights of that epoch"),
    ),
)
TRANSFER_TRANSLATION = stage(
    "transfer_translation",
    "a training of a cell in a translation model",
    (
        *OF_TRANSFERS,
        ("languages", pa.string(), "ending of the source files and of the target files"),
        ("validation_bleu", pa.float64(), "BLEU of the validation sentences, with the weights of the best epoch"),
        ("test_loss", pa.float64(), "mean cross-entropy in nats of a word of the test's references"),
        ("test_bleu", pa.float64(), "BLEU of the test sentences"),
        ("signature", pa.string(), "how sacrebleu counted"),
        ("translations", pa.string(), "folder in the run folder with the translations as text"),
    ),
)
TABLES = {
    schema.name: schema
    for schema in (SAMPLES, RESULTS, EPOCHS, UPDATES, *FINAL, *ABLATIONS, *TRANSFER_CHARACTERS, *TRANSFER_TRANSLATION)
}
