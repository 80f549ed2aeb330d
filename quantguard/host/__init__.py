"""This machine: its NPUs and their software, leases on them, and fresh interpreters for calls that may break one."""
