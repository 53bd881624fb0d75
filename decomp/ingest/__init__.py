"""Real data → instance: a TOML spec names files of series, job and request traces and tables of pairs.

`spec` and `layout` declare the keys, `presets` known layouts of them. `packing`, `parse` and `table` read
every file, `weather_files` for those that pvlib reads; `library` remembers what was read. `stamps` and `clock` turn
times to UTC; `series`, `records`, `checks`, `gaps`, `units` and `numbers` a column to one value per period. `sites`,
`demand`, `work` and `network` fill the instance's tables, `budget` the carbon budget, `build` puts them together.
`inspect` and `guess` look into a file.
"""

from decomp.ingest.build import ingest

__all__ = ["ingest"]
