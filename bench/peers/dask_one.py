# SPDX-License-Identifier: Apache-2.0
"""Median seconds that Dask's distributed scheduler takes for one small task, from handing it over until its result is read, of N."""
import statistics
import sys
import time

from distributed import Client, LocalCluster


def square(n):
    return n * n


def one(client):
    started = time.perf_counter()
    client.submit(square, 12, pure=False).result()
    return time.perf_counter() - started


if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        client.gather(client.map(square, range(1000), pure=False))
        took = statistics.median(one(client) for _ in range(int(sys.argv[1])))
    print(took)
