"""Restoring where data is loaded: Hugging Face, WebDataset, torch, Ray Data.

Each takes image files as bytes and gives image files as bytes, PNG; the low bits of protected
images survive nothing else. What is no lossless image file on its way in is refused by name.
"""
