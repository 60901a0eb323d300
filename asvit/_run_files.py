"""Names of the files in run folders, for those who write them and those who read them."""

RESULT = "result.json"
REPORT = "report.html"

# Of a search.
JOURNAL = "study.journal"
TRIALS = "trials.csv"
PICTURES = ("entropy", "reward", "measures", "front", "choices")
REPORT_FILES = (REPORT, *(f"{name}.{kind}" for name in PICTURES for kind in ("svg", "csv")))

# Of a scaling.
SERIES = "steps.csv"
CANDIDATES = "candidates.csv"

# Of a correlation.
SCORES = "scores.jsonl"
VALUES = "values.csv"
CORRELATIONS = "correlations.csv"

# Of a supernet.
LOSSES = "losses.csv"

# Of an evolution over its paths.
INHERITED = "inherited.safetensors"
RETRAINED = "retrained.safetensors"

# Of a training.
CHECKPOINT = "checkpoint.safetensors"
BEST = "best.safetensors"
MODEL = "model.safetensors"
METRICS_CSV = "metrics.csv"
METRICS_JSONL = "metrics.jsonl"
TENSORBOARD = "tensorboard"
