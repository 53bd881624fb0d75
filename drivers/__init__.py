"""The commands users type: `python -m drivers.VERB` in a checkout, `decomp VERB` once installed."""

import decomp as decomp  # first of all imports: it sets one thread a process, before numpy is loaded
