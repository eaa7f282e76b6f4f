"""How far a sweep's exponent would move, had its learning rates or its batch been off by 2x."""
