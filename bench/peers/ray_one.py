# SPDX-License-Identifier: Apache-2.0
"""Median seconds that Ray takes for one small task, from handing it over until its result is read, of N."""
import statistics
import sys
import time

import ray

ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")


@ray.remote
def square(n):
    return n * n


def one():
    started = time.perf_counter()
    ray.get(square.remote(12))
    return time.perf_counter() - started


ray.get([square.remote(i) for i in range(1000)])
print(statistics.median(one() for _ in range(int(sys.argv[1]))))
