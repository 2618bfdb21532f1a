"""Architectures and their blocks, pretrained weights, devices, class activation."""
