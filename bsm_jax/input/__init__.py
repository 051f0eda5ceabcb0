"""From rows on disk to batches on devices."""
