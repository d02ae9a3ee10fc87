"""Restoring where data is loaded: Hugging Face, WebDataset, torch, Ray Data.

Each takes image files as bytes; the low bits of protected images survive nothing else. It gives
image files as bytes: those that were carried as they were, else PNG. For torch
and Ray Data it decodes them as well. What is no lossless image file on its way in is refused.
"""
