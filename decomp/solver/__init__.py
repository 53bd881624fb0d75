"""A whole solve: methods, their phases, and the order in which these run.

Read `solve`, the entry, then `bounding` and `phases`; `series` is several solves in a row.
"""
