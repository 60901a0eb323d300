"""The command line: ``asvit COMMAND``, one module a command.

Nothing heavy is imported until a command runs, so ``--help`` and completion stay quick.
"""

import os

__all__ = ["main"]


def main() -> None:
    """Run the command line on ``sys.argv`` and exit with the code of :mod:`asvit.cli.app`."""
    from asvit.cli.app import app

    # By default threads that wait for each other spin for milliseconds. Where another process
    # wants the cores, that is most of the time: a search took six times as long beside one.
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    # Python processes that libraries start do not import from the working directory.
    os.environ.setdefault("PYTHONSAFEPATH", "1")
    app.main(prog_name="asvit")
