"""Why a plan is as it is.

`explain` says what jobs, inference and equipment are worth at the prices of the bound; `gap` where bound
and schedule part.
"""
