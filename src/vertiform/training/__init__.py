"""Objectives, Lightning modules that only delegate, optimisers, callbacks, and the one loop."""
