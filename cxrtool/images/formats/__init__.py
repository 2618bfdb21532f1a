"""What a picture file says of itself, looked at before any decoder does: sizes, chunks, memory.

Pillow reads metadata with time that grows with their square, and reserves what a header names. So
each format's chunks are walked first, cheaply: what is beyond any X-ray is refused by name, long
metadata are left out, and what may take long is known, to be decoded in a process of its own.
"""
