"""Promises about speed, harm and accuracy, measured side by side. See README.md."""
