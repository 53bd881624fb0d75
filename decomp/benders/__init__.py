"""Jobs fixed: routing and carbon allowances by Benders' decomposition.

Read `loop`, then `recourse`, a site's cost of a given load under an allowance.
"""
