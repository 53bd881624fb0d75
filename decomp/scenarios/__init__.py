"""Where scenarios come from: past forecasts and what came, ensembles, and fewer of them.

Read `known` (series of a spec), `past` (analogues: forecast errors of similar days), `members` (ensembles from files),
then `reduction`; synthetic scenarios are made by `decomp.families.futures`.
"""
