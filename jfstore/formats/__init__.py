"""Files of other programs: gain trees, npy, text, NeXus."""
