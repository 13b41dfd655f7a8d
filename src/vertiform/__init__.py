"""Vertiform: from the text of one industry to a model in use, with proof of how."""
