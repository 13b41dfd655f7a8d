"""Text in, tokens and labelled examples on disk out."""
