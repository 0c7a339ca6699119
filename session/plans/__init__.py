"""The operations of a session as plans: generators without I/O, which `dynamostore.steps` drives.

- `lifecycle`: load, commit, update and destroy a session;
- `storing`: write it, and retry after conflicts;
- `meeting`: decide what happens if another request changed it first;
- `ending`: delete it;
- `atomic`: read and store it in one step;
- `calls`: build the calls to the store.

Internal to this distribution: these modules may change in any release.
"""

__all__: list[str] = []
