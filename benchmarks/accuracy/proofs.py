"""Runs the slow proofs one after the other; what each prints becomes a section of docs/accuracy.md."""

import argparse
import os
import re
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from features import written

HERE = Path(__file__).parent
DOCUMENT = HERE.parents[1] / "docs" / "accuracy.md"
PROOFS = {
    "leaks": "## The leakage audit on planted leaks",
    "late": "## Late conversions",
    "intervals": "## Intervals of the probability",
    "small": "## Small data and segments",
    "learned": "## Learned points",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", choices=[*PROOFS], default=[*PROOFS])
    for name in parser.parse_args().only:
        began, load = time.perf_counter(), os.getloadavg()[0]
        print(f"... {name}", file=sys.stderr, flush=True)
        done = subprocess.run(
            [sys.executable, f"{name}.py"], cwd=HERE, stdout=subprocess.PIPE, text=True, check=False
        )
        print(done.stdout, flush=True)
        told = (
            f"`python benchmarks/accuracy/{name}.py`, {os.cpu_count()} cores, {datetime.now(UTC):%Y-%m-%d}; "
            f"{time.perf_counter() - began:.0f} s, load average {load:.1f} when it began."
        )
        text = re.sub("(?m)^#+ ", "", done.stdout).strip()  # its headings are no sections of the document
        written(PROOFS[name], f"{told}\n\n```\n{text}\n```", DOCUMENT)


if __name__ == "__main__":
    main()
