"""The doors: what a person can ask Vertiform to do, one module per verb."""
