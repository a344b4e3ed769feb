"""VideoMAE weights from and to PyTorch files, without PyTorch."""
