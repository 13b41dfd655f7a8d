"""The predictor: what is served is what is scored."""
