"""The whole model in one piece: ground truth, MPS, and a solver of small fleets.

Read `pyomo_model`, then `matrices`; `reductions` holds what an instance proves about its own model.
"""
