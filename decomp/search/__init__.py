"""Large-neighbourhood search for better schedules.

Read `by_prices` (price-directive: clusters of sites at the prices of load), `cluster` and `job_milp` (their MILPs),
then `by_resources` (resource-directive: groups of sites with the work and the emissions that the schedule allots them)
and `by_moves` with `move_kernels` (small fleets: one or two jobs at a time, the cost known exactly).
"""
