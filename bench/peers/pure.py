"""Our whole pipeline once over the updates: reads a corpus from stdin, prints its seconds and its final books.

Whether the C extension runs is decided when a process starts, so the pure path is measured in one of its own.
"""

from __future__ import annotations

import gc
import json
import pickle
import sys
import time

from bench.corpus import Corpus
from bench.peers.contenders import Ours


def main() -> int:
    corpus = Corpus(*pickle.load(sys.stdin.buffer))
    ours = Ours(corpus)
    gc.collect()
    gc.disable()
    began_s = time.perf_counter()
    ours.run(corpus)
    print(json.dumps({"seconds": time.perf_counter() - began_s, "tops": ours.tops()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
