# SPDX-License-Identifier: Apache-2.0
"""Seconds of a word count without the engine's start: wordcount.py ENGINE TEXT OUT. The words are runs of letters and digits in lower
case, as in graphs/wordcount."""
import sys
import time

engine, text, out = sys.argv[1:4]
if engine == "duckdb":
    import duckdb

    db = duckdb.connect()
    db.execute("SET threads=2")
    started = time.perf_counter()
    db.execute(f"""COPY (SELECT w, count(*) AS n FROM (
        SELECT unnest(string_split_regex(lower(line), '[^a-z0-9\\x80-\\x{{10FFFF}}]+')) AS w
        FROM read_csv('{text}', columns={{'line': 'VARCHAR'}}, delim='\\x01', header=false, quote='', escape='', auto_detect=false, strict_mode=false))
        WHERE w <> '' GROUP BY w ORDER BY n DESC, w) TO '{out}' (DELIMITER '\\t', HEADER false, QUOTE '')""")
elif engine == "polars":
    import os
    os.environ["POLARS_MAX_THREADS"] = "2"
    import polars as pl

    started = time.perf_counter()
    (pl.scan_csv(text, has_header=False, separator="\x01", quote_char=None, new_columns=["line"], schema={"line": pl.String})
     .select(pl.col("line").str.to_lowercase().str.extract_all(r"[a-z0-9\x{80}-\x{10FFFF}]+").alias("w")).explode("w").drop_nulls()
     .group_by("w").agg(pl.len().alias("n")).sort(["n", "w"], descending=[True, False])
     .collect(engine="streaming").write_csv(out, include_header=False, separator="\t", quote_style="never"))
elif engine == "spark":
    from pyspark.sql import SparkSession
    from pyspark.sql import functions as F

    spark = SparkSession.builder.master("local[2]").config("spark.driver.memory", "8g").config("spark.ui.enabled", "false").getOrCreate()
    spark.sparkContext.setLogLevel("OFF")
    spark.range(1000).count()
    started = time.perf_counter()
    (spark.read.text(text).select(F.explode(F.split(F.lower("value"), r"[^a-z0-9\x80-\x{10FFFF}]+")).alias("w")).where("w <> ''")
     .groupBy("w").count().orderBy(F.desc("count"), "w").coalesce(1).write.mode("overwrite").csv(out, sep="\t", quote=""))
print(time.perf_counter() - started)
