# SPDX-License-Identifier: Apache-2.0
"""Seconds that Ray takes for N empty tasks on two processors, after it has warmed up."""
import sys
import time

import ray

ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")


@ray.remote
def nothing():
    return None


n = int(sys.argv[1])
ray.get([nothing.remote() for _ in range(1000)])
started = time.perf_counter()
ray.get([nothing.remote() for _ in range(n)])
print(time.perf_counter() - started)
