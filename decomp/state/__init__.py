"""Where a solve stands.

Read `solve_state` (best prices, best schedule, log, when to stop), then `checkpoint`; `progress` is what
people see of it.
"""
