"""Pieces of specs, for tests that are about other parts of a spec."""

from __future__ import annotations

PLACE = """
latitude = 50.0
longitude = 8.0
gpus = 1000
import_limit_mw = 2.0
"""
CHAT = """
[requests.chat]
path = "requests.csv"
prompt_column = "in"
output_column = "out"
[inference]
gpu_hours_share = 0.4
[[inference.classes]]
name = "chat"
trace = "chat"
share = 1.0
prefill_tokens_per_gpu_s = 1000.0
decode_tokens_per_gpu_s = 100.0
service_ms = 400.0
latency_limit_ms = 500.0
revenue = 1.0
unserved_penalty = 0.5
"""
REQUESTS = "in,out\n1000,100\n3000,300\n"  # requests.csv


def head(name: str, start: str, periods: int, **files: str) -> str:
    """Name, horizon of hours, and hourly files by their paths."""
    horizon = f'name = "{name}"\n[horizon]\nstart = {start}\nperiods = {periods}\nperiod_min = 60\n'
    return horizon + "".join(
        f'[files.{key}]\npath = "{path}"\ntime_column = "utc"\nstep_min = 60\n' for key, path in files.items()
    )
