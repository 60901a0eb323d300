"""The command line: ``asvit COMMAND``, one module a command.

Nothing heavy is imported until a command runs, so ``--help`` and completion stay quick.
"""

__all__ = ["main"]


def main() -> None:
    """Run the command line on ``sys.argv`` and exit with the code of :mod:`asvit.cli.app`."""
    from asvit.cli.app import app

    app.main(prog_name="asvit")
