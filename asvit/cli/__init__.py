"""The command line: ``asvit COMMAND``, one module a command.

Nothing heavy is imported until a command runs, so ``--help`` and completion stay quick.
"""

import os

__all__ = ["main"]


def main() -> None:
    """Run the command line on ``sys.argv`` and exit with the code of :mod:`asvit.cli.app`."""
    from asvit.cli.app import app
    from asvit.core.programs import SAFE_PATH

    # By default, waiting threads of OpenMP spin for milliseconds. Beside a process that uses all
    # cores, a search took six times as long.
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")
    # Keep Python processes of libraries from importing from the working directory.
    os.environ.setdefault(*SAFE_PATH)
    app.main()
