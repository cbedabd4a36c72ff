# SPDX-License-Identifier: Apache-2.0
"""Seconds that Dask's distributed scheduler takes for N empty tasks on two workers, after it has warmed up."""
import sys
import time

from distributed import Client, LocalCluster


def nothing(i):
    return None


if __name__ == "__main__":
    n = int(sys.argv[1])
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        client.gather(client.map(nothing, range(1000), pure=False))
        started = time.perf_counter()
        client.gather(client.map(nothing, range(n), pure=False))
        took = time.perf_counter() - started
    print(took)
