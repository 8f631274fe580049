"""A text encoder as a folder: transformer weights, tokenizer, pooling, instructions; and texts to vectors."""
