"""Lagrangian relaxation: prices of load and the lower bound that they prove.

Read `lagrangian` (the loop), then `coupling` (what joins the sites), `master` and `master_part` (the
proximal master and its shares on the ranks); `milp_bound` adds the sites' integers, `infeasible` proves that
there is no schedule.
"""
