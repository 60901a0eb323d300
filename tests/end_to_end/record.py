"""Write the golden values of the commands: ``python -m tests.end_to_end.record``."""

import json
import tempfile
from pathlib import Path

from tests.end_to_end.program import COMMANDS, GOLDEN, outcome, write_inputs


def main() -> None:
    """Run all commands in a new folder."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_inputs(folder)
        values = {command: outcome(command, folder) for command in COMMANDS}
    GOLDEN.write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
