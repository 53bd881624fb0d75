"""Where scenarios come from: past forecasts and what came, ensembles, and fewer of them.

Read `known` (what a spec tells), `past` (errors of days like this one), `members` (ensembles from files), then
`reduction`; synthetic ones are made by `decomp.families.futures`.
"""
