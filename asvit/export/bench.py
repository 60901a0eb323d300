"""Times an ONNX file by ONNX Runtime, and prints milliseconds: ``python bench.py FILE.onnx``.

It needs ONNX Runtime alone and none of our code, so a copy of this file runs on any device that
has it. ``--threads N`` limits the threads; by default ONNX Runtime decides.
"""

import statistics
import sys
import time
from argparse import ArgumentParser

import numpy as np  # comes with onnxruntime
import onnxruntime

_WARM_UP, _SECONDS, _LEAST = 0.3, 1.0, 10  # seconds, seconds and passes that are timed at least
_SIDES = {"height": 256, "width": 256}  # of a picture; other sides that a file leaves open are 1
_TYPES = {"tensor(float)": "float32", "tensor(double)": "float64"}  # others have NumPy's names


def main() -> None:
    """Print the median time of a pass; see the top of this module."""
    parser = ArgumentParser(description="Print the median milliseconds of a pass.")
    parser.add_argument("file")
    parser.add_argument("--threads", type=int, default=0)
    args = parser.parse_args()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = args.threads
    session = onnxruntime.InferenceSession(args.file, options, providers=["CPUExecutionProvider"])
    feed = {
        one.name: np.ones(
            [side if isinstance(side, int) else _SIDES.get(side, 1) for side in one.shape],
            _TYPES.get(one.type, one.type[len("tensor(") : -1]),
        )
        for one in session.get_inputs()
    }
    times: list[float] = []
    start = time.perf_counter()
    while time.perf_counter() - start < _WARM_UP:
        session.run(None, feed)
    start = time.perf_counter()
    while len(times) < _LEAST or time.perf_counter() - start < _SECONDS:
        before = time.perf_counter()
        session.run(None, feed)
        times.append(time.perf_counter() - before)
    sys.stdout.write(f"{1e3 * statistics.median(times):.4f}\n")


if __name__ == "__main__":
    main()
