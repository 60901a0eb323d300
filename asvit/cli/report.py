"""``asvit report``: rebuilds the figures and the page of a run folder."""

from pathlib import Path

import click

from asvit.cli.manual import Documented
from asvit.cli.options import completes, emit_json, json_option, run_folders
from asvit.core.codec import MALFORMED
from proxies.messages import first_line
from proxies.text import legible


@click.command(cls=Documented)
@click.argument(
    "run", type=click.Path(path_type=Path), required=False, shell_complete=completes(run_folders)
)
@json_option
def command(*, run: Path | None = None, as_json: bool) -> None:
    """Make the figures and report.html of the run folder RUN again.

    The run must have finished. Without RUN it takes the newest finished search in runs.
    """
    from asvit.runs.folder import newest_run
    from asvit.runs.reporting import write_report_in

    folder = newest_run() if run is None else run
    try:
        files = write_report_in(folder)
    except MALFORMED as error:
        if isinstance(error, ValueError):
            raise
        # Reports read files without validating all of them, so damage may show only here.
        raise ValueError(
            f"a file in {folder} is not as asvit wrote it ({type(error).__name__}: "
            f"{first_line(error)}); restore it from a copy, or run the same command again"
        ) from error
    if as_json:
        emit_json({"folder": folder, "files": [path.name for path in files]})
    else:
        click.echo(legible(str(files[-1])))
