"""What a plan is worth when another future comes.

Read `evaluate`, and `decomp.schedule.held` (a fleet whose plan is settled).
"""
