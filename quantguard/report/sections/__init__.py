"""The sections of the report's page: one file each.

A member has ``TITLE``; ``ORDER``, small numbers first; ``TEMPLATE``, Jinja that is escaped and whose texts are made
visible by the page; and ``context(report)``, the template's names, or None where there is nothing to show.
"""
