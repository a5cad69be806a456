"""Optimizer steps: PyTorch, compiled CPU kernels and Triton, behind one interface."""
