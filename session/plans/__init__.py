"""What a session does to its store, as plans: generators with no I/O, which `dynamostore.steps` drives.

`lifecycle` loads, commits and destroys; `storing` writes, and writes again; `meeting` decides what happens where another
request was faster; `ending` deletes; `atomic` reads and stores in one step; `calls` are those of a store. For the managers and
adapters within this distribution: they may change with any version.
"""

__all__: list[str] = []
