"""How errors of models that are not ours are told."""


def first_line(error: BaseException) -> str:
    """One line that says what an error says, or at least what it is."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
