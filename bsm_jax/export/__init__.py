"""A checkpoint (`source`) as a Hugging Face folder and back: `llama` arrays, `folder` files, `card`, `check` proof."""
