"""What the stores do, as plans: generators with no I/O, which `dynamostore.steps` drives.

`verbs` are those of the contract. They inherit: `verbs` from `renaming`, and that from `parts`, because all share one table,
one clock and the same way to read an item. Below are `expressions` and `checks`; `create_table` makes the table; `faults`
turns what a client raises into a `StoreError <dynamostore.StoreError>`. These modules are for the drivers within this distribution and may
change with any version. A store of your own needs `dynamostore.contract` and, if it wants one text for both kinds of driver,
`dynamostore.steps`.
"""

__all__: list[str] = []
