#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs what bench/run compares with: Debian's packages, and, where the Python registry can be reached, Ray, Dask, PySpark,
# DuckDB and Polars in an environment of their own, build-peers. What cannot be had is left out of the tables.
set -u
cd "$(dirname "$0")/.." || exit 1
sudo=
[ "$(id -u)" = 0 ] || sudo=sudo
$sudo apt-get update -qq
for package in mawk parallel ninja-build make coop-computing-tools snakemake python3-distributed default-jre-headless python3-venv; do
	$sudo apt-get install -y -qq --no-install-recommends "$package" >/dev/null || echo "not to be had: $package"
done
[ -x build-peers/bin/pip ] || /usr/bin/python3 -m venv build-peers || exit 1
for package in ray 'dask[distributed]' 'pyspark<4.1' duckdb polars pyarrow; do
	build-peers/bin/pip install -q --disable-pip-version-check "$package" || echo "not to be had: $package"
done
build-peers/bin/pip list --disable-pip-version-check 2>/dev/null | grep -iE '^(ray|dask|distributed|pyspark|duckdb|polars) '
