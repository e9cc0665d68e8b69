"""Writes what a ranker may be fitted to: the rows of the runs' source that no run ever serves.

usage: python -m engines.vllm.unserved_rows OUT.jsonl.gz
"""

import gzip
import json
import sys
from pathlib import Path

from engines.vllm.prompts import DATA, SHARE_SERVED, rows_of, served


def main(target):
    """Write them."""
    if DATA is None or not DATA.exists():
        sys.exit(f"there is no {DATA}: set DATA to the folder of lengths")
    rows = [row for row in rows_of(DATA) if row["output_tokens"] and not served(row)]
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(target, "wt") as out:
        for row in rows:
            print(json.dumps(row), file=out)
    print(f"{len(rows)} rows of {DATA.name}; the {SHARE_SERVED:.0%} that runs draw from are left out", file=sys.stderr)


if __name__ == "__main__":
    main(*sys.argv[1:])
