"""Models for others: what a model is in words, checksums, ONNX, and the way to a hub."""
