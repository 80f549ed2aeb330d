"""What this machine is: the software on it, its NPUs, and Python started afresh to try things that may break."""
