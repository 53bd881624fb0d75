"""What a plan is worth when another future comes.

Read `held` (a fleet whose jobs are settled), then `evaluate`.
"""
