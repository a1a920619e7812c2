"""The loader for which NVIDIA DALI decodes and crops."""
