"""A worker process: reads its settings and then tasks from stdin, writes answers to stdout.

Run as ``python -m asvit.executors.serve``. A message is one line of JSON. The process exits when
stdin closes, so it never outlives its parent, even if that is killed.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from typing import Any, TextIO

from asvit.executors.base import Work, perform
from proxies.messages import first_line


def _serve() -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # keeps what libraries print out of the answers
    content: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(content,), daemon=True).start()
    head, arrays = json.loads(content.get()), content.get()
    try:
        from safetensors.numpy import load  # after the thread, which does not need it

        worker = Work(head["factory"], head["settings"], load(arrays)).worker(head["device"])
    except (ValueError, OSError) as error:
        _write(answers, {"kind": "refused", "reason": first_line(error)})
        return
    del arrays
    _write(answers, {"kind": "ready"})
    while True:
        _write(answers, {"kind": "answered", **perform(worker, json.loads(content.get()))})


def _read(content: queue.SimpleQueue[bytes]) -> None:
    """Read ahead, so that the process exits even in the middle of a task."""
    stdin = sys.stdin.buffer
    head = stdin.readline()
    if head:
        content.put(head)
        content.put(stdin.read(json.loads(head)["bytes"]))
    for line in stdin:
        content.put(line)
    os._exit(0)


def _write(stream: TextIO, message: dict[str, Any]) -> None:
    stream.write(json.dumps(message) + "\n")
    stream.flush()


if __name__ == "__main__":
    _serve()
