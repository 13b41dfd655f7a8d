"""What `vertiform sweep` is made of: its setup, its workers, their trials and its ending."""
