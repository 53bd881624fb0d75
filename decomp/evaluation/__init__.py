"""Plans against scenarios: out-of-sample cost, value of the stochastic solution and of information.

Read `evaluate`, and `decomp.schedule.held` (a fleet whose plan is settled).
"""
