"""Whole runs: what a command does from its settings to a folder with results and a report.

Each function but ``export_network`` and ``score`` takes, beside what it documents, ``out`` (the
run folder; by default one in ``runs`` named after the settings), ``fresh`` (start over),
``preset`` (settings to start from) and ``progress`` (called with a
:class:`asvit.core.progress.Progress` as the run goes on; unless it is given, a notebook shows a
bar). Stopped at any point, even by ``kill -9``, the same call continues a run to the identical
result, and only gives the result of one that has finished. ``workers`` is an
:class:`asvit.executors.Workers`, the processes that measure; ``reference`` the name or path of a
table, with whose accuracies the measures are correlated in the end. All return what result.json
holds. They raise ``ValueError`` if a setting is not allowed, images do not suit, or the folder's
run has other settings, images or device or is in use; ``OSError`` if the folder cannot be written
to or something cannot be found; and ``TypeError`` if there is no such setting.
"""
