"""The sections of the report's page: one file each.

A member has ``TITLE``; ``ORDER``, small numbers first; ``TEMPLATE``, in Jinja, whose values the page escapes and makes
visible; and ``context(report)``, which returns the template's variables, or None if there is nothing to show.
"""
