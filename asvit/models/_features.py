"""What the pyramids share in serving timm's feature extraction."""

from collections.abc import Sequence


def taken_stages(indices: int | Sequence[int] | None, stages: int) -> list[int]:
    """Stage indices from 0, from any of the three ways in which timm takes them.

    Args:
        indices: Indices from 0, or from the end when negative; how many of the last stages; or
            None for all.
        stages: How many there are.

    Raises:
        ValueError: If a stage does not exist, or none is asked for.
    """
    if indices is None:
        return list(range(stages))
    if isinstance(indices, int):
        if not 1 <= indices <= stages:
            raise ValueError(f"the last {indices} stages do not exist; use 1 to {stages}")
        return list(range(stages - indices, stages))
    taken = [i + stages if i < 0 else i for i in indices]
    if not taken or not all(0 <= i < stages for i in taken):
        raise ValueError(f"stages {list(indices)} do not all exist; use 0 to {stages - 1}")
    return taken


def known_pool(name: str) -> str:
    """``name``, if it is a way to pool a map.

    Raises:
        ValueError: If it is not.
    """
    if name not in ("avg", ""):
        raise ValueError(f"global_pool={name!r} is not one of 'avg', '' (no pooling)")
    return name
