"""One small Spark for all tests: two cores, no web pages, four parts in a shuffle."""

import os
import shutil
import sys
from collections.abc import Iterator
from typing import Any

import pytest

# Far from UTC, and not by whole hours: what depends on the session's zone shows.
ZONE = "Asia/Kathmandu"
SETTINGS = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.shuffle.partitions": "4",
    # These tables are small: what Spark and Java do to be fast in the end takes longer than the work.
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.codegen.wholeStage": "false",
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    "spark.sql.session.timeZone": ZONE,
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.log.level": "OFF",
}


@pytest.fixture(scope="session")
def spark() -> Iterator[Any]:
    pytest.importorskip("pyspark", reason="PySpark is not installed: make spark")
    if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
        pytest.skip("Java is not installed; PySpark needs version 17 or later")
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master("local[2]").appName("leadscore")
    for name, value in SETTINGS.items():
        builder = builder.config(name, value)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        session = builder.getOrCreate()
        yield session
        session.stop()
