"""A plain encoder of lossless JPEG, written from T.81 and not from the decoder that it tests."""

import struct

import numpy as np


def predicted(samples, row, column, predictor, first):
    """What T.81's table H.1 and H.1.2.1 predict of a sample from those before it."""
    if row == 0 and column == 0:
        return first
    if row == 0:
        return samples[row][column - 1]
    if column == 0:
        return samples[row - 1][column]
    a, b, c = samples[row][column - 1], samples[row - 1][column], samples[row - 1][column - 1]
    return {
        1: a,
        2: b,
        3: c,
        4: a + b - c,
        5: a + ((b - c) >> 1),
        6: b + ((a - c) >> 1),
        7: (a + b) >> 1,
    }[predictor]


def encode_lossless(array, precision, predictor=1, shift=0, rows_between_restarts=0):
    """A grey array as a JPEG stream: 17 codes of 5 bits, one for each category."""
    rows, columns = array.shape
    band = rows_between_restarts or rows
    codes = bytearray()
    for top in range(0, rows, band):
        if top:
            codes += bytes([0xFF, 0xD0 + (top // band - 1) % 8])
        codes += encoded_band(
            (array[top : top + band] >> shift).tolist(), precision, predictor, shift
        )
    table = bytes([0, 0, 0, 0, 0, 17, *[0] * 11, *range(17)])
    return b"".join(
        [
            b"\xff\xd8",
            segment(0xC3, struct.pack(">BHHBBBB", precision, rows, columns, 1, 1, 0x11, 0)),
            segment(0xC4, table),
            segment(0xDD, struct.pack(">H", band * columns)) if rows_between_restarts else b"",
            segment(0xDA, bytes([1, 1, 0, predictor, 0, shift])),
            bytes(codes),
            b"\xff\xd9",
        ]
    )


def encoded_band(samples, precision, predictor, shift):
    bits = []
    first = 1 << (precision - shift - 1)
    for row, line in enumerate(samples):
        for column, value in enumerate(line):
            difference = (value - predicted(samples, row, column, predictor, first)) % 65536
            signed = difference - 65536 if difference > 32768 else difference
            category = abs(signed).bit_length()
            bits.append(f"{category:05b}")
            if 0 < category < 16:
                extra = signed if signed > 0 else signed + (1 << category) - 1
                bits.append(f"{extra:0{category}b}")
    text = "".join(bits)
    text += "1" * (-len(text) % 8)
    packed = bytes(int(text[i : i + 8], 2) for i in range(0, len(text), 8))
    return packed.replace(b"\xff", b"\xff\x00")


def segment(marker, content):
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def wavy(rows, columns, precision, seed=0):
    """A picture with slopes, edges and noise, over the whole range of so many bits."""
    y, x = np.mgrid[:rows, :columns]
    noise = np.random.default_rng(seed).normal(0, 0.03, x.shape)
    shape = 0.5 + 0.4 * np.sin(x / 7) * np.cos(y / 5) + 0.3 * (x > columns // 2) + noise
    greatest = 2**precision - 1
    return (shape.clip(0, 1) * greatest).astype(np.uint16)
