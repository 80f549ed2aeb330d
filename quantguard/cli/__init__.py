"""The ``quantguard`` command: one file a subcommand, with ``HELP``, ``add_arguments(parser)`` and ``run(args)``."""
