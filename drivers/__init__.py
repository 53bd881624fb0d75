"""The commands users type: `python -m drivers.VERB` in a checkout, `decomp VERB` once installed."""
