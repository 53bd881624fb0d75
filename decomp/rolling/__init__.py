"""Rolling-horizon operation: plan a window, do its first step, plan again.

Read `windows` (the cut in time and the past it carries on), `planner` (each solve warm from the last), then
`write`.
"""
