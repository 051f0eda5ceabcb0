"""Short runs of many mixtures: reading them, and a law of the loss over the corpora's shares."""
