"""Fine-tuning of a checkpoint on labelled sequences, against the same model untrained and a k-mer baseline."""
