"""Accounts of a team's server and what each may do:  python -m scripts.server.accounts ada promote

Run by an admin, whose name and password are in MLFLOW_TRACKING_USERNAME and _PASSWORD.
"""

import argparse
import getpass
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from vertiform.doors import exit_on_user_error
from vertiform.errors import TrackingError
from vertiform.tracking.ledger import ABOUT
from vertiform.tracking.registry import LEDGER

if TYPE_CHECKING:
    from mlflow.server.auth.client import AuthServiceClient

WORKSPACE = "default"  # MLflow's only one unless it is told otherwise
PROMOTE = "promote"
# What a role may do beyond reading, which every account may (tracker.py: default_permission).
ROLES = {
    "read": (),
    "train": (("experiment", "*", "EDIT"),),
    PROMOTE: (("experiment", "*", "EDIT"), ("registered_model", "*", "EDIT")),
}
SHORTEST_PASSWORD = 12  # characters; MLflow's server asks for as many
NEW_PASSWORD = "NEW_PASSWORD"  # the variable from which a script may give it


def main() -> None:
    """Make an account, or give one that exists another role."""
    parser = argparse.ArgumentParser(prog="python -m scripts.server.accounts", description=__doc__)
    parser.add_argument("username")
    parser.add_argument("role", choices=sorted(ROLES))
    options = parser.parse_args()
    with exit_on_user_error():
        client = admin_client(os.environ.get("MLFLOW_TRACKING_URI"))
        set_account(client, options.username, role=options.role, ask_password=_asked)
        print(f"{options.username} may {options.role}.")


def admin_client(address: str | None) -> "AuthServiceClient":
    """Return the client of the server's accounts. It logs in by MLFLOW_TRACKING_*."""
    if not address:
        raise TrackingError(
            "It is not known which server is meant.",
            fix="set MLFLOW_TRACKING_URI to its address, such as http://127.0.0.1:5000.",
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a library of the server's, which is imported with it
        from mlflow.server.auth.client import AuthServiceClient

    return AuthServiceClient(address)


def set_account(
    client: "AuthServiceClient", username: str, *, role: str, ask_password: Callable[[], str]
) -> None:
    """Give an account this role and no other of ours; one that is absent is made."""
    with _errors_named(username):
        if not _exists(client, username):
            password = ask_password()
            if len(password) < SHORTEST_PASSWORD:
                raise TrackingError(
                    f"The password has fewer than {SHORTEST_PASSWORD} characters.",
                    fix="choose a longer one; `openssl rand -base64 24` makes one up.",
                )
            client.create_user(username, password)
        if role == PROMOTE:
            _keep_ledger(client.tracking_uri)
        for held in client.list_user_roles(username):
            if held.name in ROLES and held.name != role:
                client.unassign_role(username, held.id)
        if role not in [held.name for held in client.list_user_roles(username)]:
            client.assign_role(username, _role_id(client, role))


def _exists(client: "AuthServiceClient", username: str) -> bool:
    from mlflow.exceptions import MlflowException

    try:
        client.get_user(username)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return False
    return True


def _role_id(client: "AuthServiceClient", name: str) -> int:
    """Find the role or make it, with its rights."""
    for role in client.list_roles(WORKSPACE):
        if role.name == name:
            return role.id
    made = client.create_role(WORKSPACE, name, "docs/team-server.md says what it may")
    for kind, pattern, permission in ROLES[name]:
        client.add_role_permission(made.id, kind, pattern, permission)
    return made.id


def _keep_ledger(address: str) -> None:
    """Make the ledger of decisions the admin's own, if there is none yet.

    Who makes a model may delete it. If the first promoter did, they could delete the history.
    """
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    try:
        MlflowClient(address, registry_uri=address).create_registered_model(
            LEDGER, description=ABOUT
        )
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


@contextmanager
def _errors_named(username: str) -> Iterator[None]:
    """Never quote MLflow: of an account made twice at once it tells the hash of its password."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        code = error.error_code
        raise TrackingError(
            f"MLflow's server did not change the account {username}: {code}.",
            fix="set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD to those of an admin."
            if code in ("UNAUTHENTICATED", "PERMISSION_DENIED")
            else "see that the server answers (`curl <address>/health`), and try again.",
        ) from None


def _asked() -> str:
    return os.environ.get(NEW_PASSWORD) or getpass.getpass("Password of the new account: ")


if __name__ == "__main__":
    main()
