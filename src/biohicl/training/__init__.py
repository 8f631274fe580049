"""Training: which citations, their tokens and labels, the losses, and the step that makes a node.

``train`` and what it imports need torch, transformers, peft, pyarrow, numpy and scipy only, so that the
step runs on a bare GPU image.
"""
