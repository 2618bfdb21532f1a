"""Examine picture files before a decoder does: sizes, chunks, memory.

Pillow takes quadratic time for metadata and reserves the memory that a header names. So each
format's chunks are walked first: what exceeds any X-ray is refused, long metadata are skipped, and
what may take long is decoded in a separate process.
"""
