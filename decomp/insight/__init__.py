"""Plans explained: marginal values of jobs, inference and equipment, and the gap by cause.

`explain` says what jobs, inference and equipment are worth at the prices of the bound; `gap` where bound
and schedule part.
"""
