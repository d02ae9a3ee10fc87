"""Profile exact in plain NumPy: transformation with its Sequence, and hiding."""
