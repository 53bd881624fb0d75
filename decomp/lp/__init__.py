"""Linear programs, HiGHS and SCIP; knows no sites.

Read `block` (columns and rows, built term by term), then `highs` and `scip`, the solvers; `safe_bound`
proves a bound from any duals, `presolve` takes out what is settled.
"""
