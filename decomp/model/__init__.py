"""The records: instance, result, frontier, options; their rules and their accounts.

Nothing here solves or reads files. Read `instance`, then `result`; `validate` says what is refused,
`accounts` what a schedule costs.
"""
