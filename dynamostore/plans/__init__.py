"""The logic of the stores as plans: generators without I/O, which `dynamostore.steps` drives.

`verbs` implements the methods of the contract. Its class inherits from the class in
`renaming`, which inherits from the class in `parts`: all share one table, one clock and one way to read an item. They use
`expressions` and `checks`.
`create_table` creates the table. `faults` turns a client's exception into a `StoreError <dynamostore.StoreError>`.

These modules are internal and may change with any version. To write your own store, use `dynamostore.contract`. To share its
code between a sync and an async version, also use `dynamostore.steps`.
"""

__all__: list[str] = []
