"""Names that a package imports only when they are used."""

import ast
from pathlib import Path


def lazy_names(file: str) -> dict[str, str]:
    """Name to module of each ``from MODULE import NAME as NAME`` in a package's own file."""
    tree = ast.parse(Path(file).read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    pairs = [(alias, str(node.module)) for node in imports for alias in node.names]
    return {alias.name: module for alias, module in pairs if alias.asname == alias.name}
