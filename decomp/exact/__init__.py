"""Small fleets solved to optimality: branch and bound on jobs, the extensive finish.

Read `branching` (branch and bound on jobs over `column_lp`, the linear master of site answers), then `whole`, the fleet
in one model.
"""
