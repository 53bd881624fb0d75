"""Large-neighbourhood search for better schedules.

Read `by_prices` (clusters of sites at the prices of load), `cluster` and `job_milp` (their programs), then
`by_resources` (groups that plan anew with the inference and allowances they have), and `fleet_model` (a small fleet as
one program, for SCIP).
"""
