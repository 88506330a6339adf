"""What netsonde replaces, written as it was: every packet through a queue to Python."""
