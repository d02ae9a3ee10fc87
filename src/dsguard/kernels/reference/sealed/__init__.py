"""Codec sealed in plain NumPy: lossless coding of pixels, and payloads in low bits."""
