"""Net cost against the carbon budget.

Read `trace` (the loop over budgets, an epsilon-constraint method), then `envelope` (lower and upper curve);
`group_curve` and `fleet_curve` follow one schedule over all carbon prices.
"""
