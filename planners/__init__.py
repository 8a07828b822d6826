"""Fingerprint, rules, plan, preprocessing and splits: how nucplan configures itself on top of nnU-Net."""
