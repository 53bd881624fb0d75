"""Net cost against the carbon budget.

Read `trace` (the run over the budgets), then `envelope` (the two curves); `group_curve` and `fleet_curve`
follow one schedule over all prices of a tonne.
"""
