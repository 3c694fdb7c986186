"""Documents to batches: source, store, formats, batches, masking."""
