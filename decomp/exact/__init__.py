"""Small fleets to the end.

Read `beside` (SCIP searches the fleet from the first second on), `branching` (branch and bound on jobs over
`column_lp`, the linear master of site answers), then `whole`, the fleet in one model.
"""
