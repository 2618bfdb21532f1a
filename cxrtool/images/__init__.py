"""Files to grey pixels: formats, DICOM, decoding apart, the cache."""
