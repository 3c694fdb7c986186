"""Flat tokens to hidden states, logits and Hugging Face weights."""
