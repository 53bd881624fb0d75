"""The state of a solve: best prices, incumbent, log, stopping rule; checkpoints of it.

Read `solve_state` (best prices, best schedule, log, when to stop), then `checkpoint`; `progress` is what
people see of it.
"""
