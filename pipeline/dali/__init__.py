"""The loader whose images NVIDIA DALI decodes and crops."""
