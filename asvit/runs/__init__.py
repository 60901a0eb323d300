"""Whole runs: what a command does from its settings to a folder with results and a report.

Stopped at any point, even by ``kill -9``, the same call continues a run to the identical result,
and only gives the result of one that has finished. What is not given is as in the preset, whose
values may differ from those of the signature, or follows from other options. All runs return what
result.json holds. They raise ``ValueError`` if a setting is not allowed, images do not suit, or
the folder's run has other settings, images or device or is in use; ``OSError`` if the folder
cannot be written to or something cannot be found; and ``TypeError`` if there is no such setting.
"""

#: Where each kind of run is declared, by its command; a command imports its own alone.
KINDS = {
    "search": "asvit.runs.search:SEARCH",
    "scale": "asvit.runs.scaling:SCALE",
    "train": "asvit.runs.training:TRAIN",
    "design": "asvit.runs.designing:DESIGN",
    "correlate": "asvit.runs.correlation:CORRELATE",
    "supernet train": "asvit.runs.supernet:SUPERNET",
    "supernet evolve": "asvit.runs.supernet:EVOLVE",
    "transfer detect": "asvit.runs.transfer:DETECT",
    "transfer segment": "asvit.runs.transfer:SEGMENT",
    "test": "asvit.runs.evaluating:TEST",
}
