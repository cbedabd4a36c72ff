# SPDX-License-Identifier: Apache-2.0
"""Seconds, without the engine's start, of finding the ten pages of an access log that were asked for most: toppages.py ENGINE LOG OUT."""
import sys
import time

engine, log, out = sys.argv[1:4]
columns = [f"f{i}" for i in range(10)]  # host - - [day time] "GET page version" status bytes
if engine == "duckdb":
    import duckdb

    db = duckdb.connect()
    db.execute("SET threads=2")
    kinds = ", ".join(f"'{c}': 'VARCHAR'" for c in columns)
    started = time.perf_counter()
    db.execute(f"""COPY (SELECT f6, count(*) AS n FROM read_csv('{log}', columns={{{kinds}}}, delim=' ', header=false, quote='', escape='',
        auto_detect=false) GROUP BY f6 ORDER BY n DESC, f6 LIMIT 10) TO '{out}' (DELIMITER '\\t', HEADER false, QUOTE '')""")
elif engine == "polars":
    import os
    os.environ["POLARS_MAX_THREADS"] = "2"
    import polars as pl

    started = time.perf_counter()
    (pl.scan_csv(log, has_header=False, separator=" ", quote_char=None, schema={c: pl.String for c in columns})
     .group_by("f6").agg(pl.len().alias("n")).sort(["n", "f6"], descending=[True, False]).head(10)
     .collect(engine="streaming").write_csv(out, include_header=False, separator="\t", quote_style="never"))
print(time.perf_counter() - started)
