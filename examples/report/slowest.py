"""Read a run directory: the verdict from summary.json, and the slowest paths from the raw samples."""

import json
import sys
from pathlib import Path

import pandas as pd

run = Path(sys.argv[1])
summary = json.loads((run / "summary.json").read_text())
print(f"verdict: {summary['verdict']}", *summary["reasons"], sep="\n  ")
print(f"streams: {summary['streams']['flowing']} of {summary['streams']['expected']} flowing")

samples = pd.read_parquet(run / "latency.parquet")
samples["ms"] = samples["owd_ns"] / 1e6
samples["kind"] = samples["kind"].map({0: "audio", 1: "video"})
slowest = samples.groupby(["sender", "receiver", "kind"])["ms"].quantile(0.95).nlargest(5)
print("slowest paths, 95th percentile in ms:")
print(slowest.round(2).to_string())
