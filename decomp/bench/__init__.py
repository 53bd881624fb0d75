"""Speed and scaling, measured and foreseen.

Read `measure`, `tables` and `curves` (rows, tables, plots), `baselines` (what a user would try instead), then
`replay`, `scaling` and `estimate` (other numbers of ranks).
"""
