"""``python -m asvit`` is the command ``asvit``."""

from asvit.cli import main

main()
