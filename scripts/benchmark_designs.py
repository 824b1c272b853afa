"""Time drawing, validating, identifying and costing designs; no torch module is built.

    python scripts/benchmark_designs.py [--designs N]

The caches of plans are cleared before each draw, so that the time is that of unseen designs.
"""

import argparse
import random
import sys
import time
from statistics import median

import skipsearch as ss

SPACE = """
name: benchmark
base: {stem_width: 16, bottleneck_ratio: 0.5}
axes:
  layout:
    - conv3-bn-relu-conv3-bn + relu
    - conv3-bn-relu-conv3 + bn-relu
    - relu-conv3-bn-relu-conv3-bn +
    - bn-relu-conv1-bn-relu-conv3-bn-relu-conv1 +
  merge: [add, cat]
  shortcut: [proj, proj-all, avg-proj, omit]
  depths: [[3, 3, 3], [9, 9, 9], [18, 18, 18]]
  widths: [[16, 32, 64], [24, 48, 96], [32, 64, 128]]
  drop_path: {low: 0.0, high: 0.5}
"""


def main() -> None:
    """Print the milliseconds per design."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--designs", type=int, default=10_000, metavar="N", help="default %(default)s"
    )
    count = parser.parse_args().designs
    space = ss.Space.from_yaml(SPACE)
    rng = random.Random(0)
    modules = [module for name, module in sys.modules.items() if name.startswith("skipsearch.")]
    held = [each for module in modules for each in vars(module).values()]
    caches = [each for each in held if hasattr(each, "cache_clear")]
    seconds = []
    for _ in range(count):
        for cached in caches:
            cached.cache_clear()
        start = time.perf_counter()
        drawn = space.sample(rng)
        _ = drawn.id
        ss.cost(drawn)
        seconds.append(time.perf_counter() - start)
    seconds.sort()
    print(f"{count:,} designs: median {1e3 * median(seconds):.3f} ms,", end=" ")
    print(f"99th percentile {1e3 * seconds[int(0.99 * count)]:.3f} ms, no torch:", end=" ")
    print("torch" not in sys.modules)


if __name__ == "__main__":
    main()
