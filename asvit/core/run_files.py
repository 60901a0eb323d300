"""Names of the files in run folders, for the code that writes and the code that reads them."""

from collections.abc import Iterable

RUNS_FOLDER = "runs"  # folder of those without --out
MARKER = ".kind"  # text file with the kind of run
RESULT = "result.json"
RECORDS = "run.jsonl"  # what a run was started with, and what it stores on its way
REPORT = "report.html"

# Of a search.
STUDY = "study.journal"
TRIALS = "trials.csv"
TRAINED = "trainings.csv"  # as a reference table

# Of a scaling.
SERIES = "steps.csv"
CANDIDATES = "candidates.csv"

# Of a correlation.
VALUES = "values.csv"
CORRELATIONS = "correlations.csv"
CORRELATION_FIGURES = ("tau",)  # and a scatter plot for each measure

# Of a supernet.
SUPERNET_WEIGHTS = "supernet.safetensors"

# Of an evolution over its paths.
INHERITED = "inherited.safetensors"

# Of a training.
CHECKPOINT = "checkpoint.safetensors"
BEST = "best.safetensors"
MODEL = "model.safetensors"
METRICS = "metrics.csv"
TENSORBOARD = "tensorboard"
PREDICTIONS = "predictions.json"
ANSWERS = "predictions.csv"  # also of designs and tests: a row a picture

# Of a design, beside the folders of its runs.
PICTURES = "images.csv"
GRAPH = "model.onnx"
SMALL_GRAPH = "model-int8.onnx"  # in 8-bit integers
PREDICT_SCRIPT = "predict.py"  # runs both without asvit
#: What pretrained networks start from, each beside the folder of its training.
PRETRAINED_WEIGHTS = ("pretrained-1.safetensors", "pretrained-2.safetensors")


def figure_files(names: Iterable[str]) -> tuple[str, ...]:
    """The files of figures: a picture of each, and the rows that it shows."""
    return tuple(f"{name}.{kind}" for name in names for kind in ("svg", "csv"))
