"""The adaptive planner: after each round it decides, by a rule, which cells are worth their FLOPs next. Pure but for
`rounds.py`, which trains what is decided.
"""
