"""Finding biological sequences in the text of web pages."""
