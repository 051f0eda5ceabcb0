"""A checkpoint as a Hugging Face folder and back: arrays (`llama`), files (`folder`), `card`, the proof (`check`)."""
