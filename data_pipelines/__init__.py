"""From public files to rows of tokens."""
