"""Writes rows in every format."""

import csv
import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq

from rankd.training.data.dataset import Row

ROWS = [
    {"prompt": f"Write {i} words.", "output_token_count": 10 + i, "model": "m", "finish_reason": "stop"}
    for i in range(20)
]
EXPECTED = [Row(r["prompt"], r["output_token_count"], True, "log", "m") for r in ROWS]


def jsonl(rows):
    return "".join(json.dumps(r) + "\n" for r in rows).encode()


def write(path, rows):
    """Write rows in the format that a path's suffix names."""
    if path.name.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(rows), path)
        return path
    if ".csv" in path.name:
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "wt", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        return path
    path.write_bytes(gzip.compress(jsonl(rows)) if path.suffix == ".gz" else jsonl(rows))
    return path
