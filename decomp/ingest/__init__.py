"""Real data → instance: a TOML spec names CSV series, job and request traces and latency tables.

`spec` declares the keys, `readers` the file formats, `series` units, time zones, gaps and resampling; `sites`,
`demand` and `work` fill the instance's tables, `budget` the carbon budget, `build` puts them together.
"""

from decomp.ingest.build import ingest

__all__ = ["ingest"]
