"""Where text comes from: one file per kind of source."""
