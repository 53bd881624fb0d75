"""Linear programs and HiGHS; knows no sites.

Read `block` (columns and rows, built term by term), then `highs`, the solver; `safe_bound` proves a bound from any
duals, `presolve` takes out what is settled.
"""
