"""Tasks: each is data in its owners' layout, what the model is shown of it, and a figure. `suites.py` lists them."""
