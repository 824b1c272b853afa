"""Settings of OpenMP, which must be in the environment before torch is loaded."""

# A thread that waits for others first spins, by default so long that a process of two threads loses
# the machine to other work at each small operation: a step took up to 50 times as long beside two
# busy loops, and takes no longer than its share with this cap (scripts/benchmark_threads.py).
SETTINGS = {"GOMP_SPINCOUNT": "1000"}
