"""Small fleets solved to optimality: branch and bound on jobs, the extensive finish, SCIP beside.

Read `beside` (SCIP searches the fleet from the first second on), `branching` (branch and bound on jobs over
`column_lp`, the linear master of site answers), then `whole`, the fleet in one model.
"""
