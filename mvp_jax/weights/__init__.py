"""Reads and writes VideoMAE weights in PyTorch files, without PyTorch."""
