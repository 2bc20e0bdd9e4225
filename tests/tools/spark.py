"""Write a directory of each kind that Spark has: `python -m tests.tools.spark DIRECTORY`, in the environment of Spark.

That environment, `.venv-spark`, has no other package: this module imports nothing of the rest.
"""

import sys

from pyspark.sql import DataFrameWriter, SparkSession

ROWS = 1_000
PARTS = 20
#: Names of subdirectories, the format and its options.
KINDS: dict[str, tuple[str, dict[str, str]]] = {
    "csv": ("csv", {"header": "true"}),
    "gzip": ("csv", {"header": "true", "compression": "gzip"}),
    "doubled": ("csv", {"header": "true", "escape": '"'}),
    "json": ("json", {}),
    "parquet": ("parquet", {}),
}
#: Cells with what has to be quoted or escaped, and with nothing in them.
COLUMNS = (
    "concat('C-', lpad(id, 4, '0')) AS id",
    r"""CASE id % 5 WHEN 0 THEN concat('say "hi", ', id) WHEN 1 THEN concat('two\nlines ', id) """
    r"""WHEN 2 THEN concat('C:\\dir\\', id, '.txt') WHEN 3 THEN NULL ELSE 'Öl' END AS note""",
    r"concat('\\\\server\\', id, '\\') AS path",
    "CAST(id * 1.5 AS DECIMAL(10, 1)) AS ltv",
)


def main() -> None:
    builder = SparkSession.builder.master("local[2]").appName("parts")
    for key, value in {
        # Nothing listens but on the loopback address.
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.sql.session.timeZone": "UTC",
    }.items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    try:
        frame = spark.range(0, ROWS, 1, PARTS).selectExpr(*COLUMNS)
        for name, (format_, options) in KINDS.items():
            writer: DataFrameWriter = frame.write.format(format_).options(**options)
            writer.save(f"{sys.argv[1]}/{name}")
    finally:
        spark.stop()


if __name__ == "__main__":
    main()
