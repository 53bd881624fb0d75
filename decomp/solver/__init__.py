"""The order of things.

Read `solve`, the entry, then `phases`.
"""
