"""A team's server on one machine: MLflow with PostgreSQL, an S3 store and accounts.

`make server` starts it for a person, the tests start the same; docs/team-server.md says the rest.
"""
