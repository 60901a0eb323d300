"""Multiply-adds of the parts of a transformer block, by formula.

``N`` tokens of width ``C``, ``h`` heads. They agree with the counter (:func:`proxies.count`) where
nothing has to be rounded.
"""


def attention_macs(tokens: int, width: int) -> int:
    """Ordinary self-attention: ``4NC² + 2N²C``, however many heads.

    Args:
        tokens: N.
        width: C.
    """
    return 4 * tokens * width**2 + 2 * tokens**2 * width


def hallucinated_attention_macs(tokens: int, width: int, heads: int) -> int:
    """Self-attention with half of its maps hallucinated: ``3NC² + 3/2 N²C + 9/2 hN² + h²/4 N²``.

    Queries and keys for half of the heads, values and output map for all; then products of real
    heads, the maps' products with values, and the two convolutions over maps.

    Args:
        tokens: N, all of them on the grid.
        width: C.
        heads: h, real and hallucinated; even.

    Raises:
        ValueError: If ``heads`` is odd or does not divide ``width``.

    References:
        arXiv:2306.10875.
    """
    if heads < 2 or heads % 2 or width % heads:
        raise ValueError(f"heads must be even and divide the width {width}, got {heads}")
    real = heads // 2
    queries_and_keys = 2 * tokens * width * (width // 2)
    values_and_output = 2 * tokens * width**2
    products = tokens**2 * (width // 2) + tokens**2 * width
    return queries_and_keys + values_and_output + products + (9 * real + real**2) * tokens**2


def hallucinated_attention_saving(tokens: int, width: int, heads: int) -> int:
    """What hallucination saves: ``NC² + N²C/2 − 9/2 hN² − h²/4 N²``, negative for many heads.

    Arguments and errors as :func:`hallucinated_attention_macs`.
    """
    return attention_macs(tokens, width) - hallucinated_attention_macs(tokens, width, heads)


def feed_forward_macs(tokens: int, width: int, expansion: float = 4) -> int:
    """Ordinary feed-forward part: ``2mNC²``.

    Args:
        tokens: N.
        width: C.
        expansion: m, the hidden width over C.
    """
    return round(2 * expansion * tokens * width**2)


def compact_feed_forward_macs(
    tokens: int, width: int, expansion: float = 4, ratio: float = 2 / 3
) -> int:
    """Compact feed-forward part, merged: ``m(1 + t)NC²``, ``(1 + t)/2`` of an ordinary one.

    A network's width between the factors is rounded; this is not.

    Args:
        tokens: N.
        width: C.
        expansion: m, the hidden width over C.
        ratio: Compact ratio t.

    References:
        arXiv:2306.10875.
    """
    return round(expansion * (1 + ratio) * tokens * width**2)
