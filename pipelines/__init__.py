"""One small script per DVC stage: wiring only."""
