"""Codec sealed in plain NumPy: lossless coding of pixels."""
