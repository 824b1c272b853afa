"""Settings of OpenMP, which must be in the environment before torch is loaded."""

# A waiting thread first spins. The default is so long that a process of two threads loses the CPU
# to other work at each small operation: beside two busy loops a step took up to 50 times as long.
# With this limit it takes no longer than its share (scripts/benchmark_threads.py).
SETTINGS = {"GOMP_SPINCOUNT": "1000"}
