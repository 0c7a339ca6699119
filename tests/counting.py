"""A store that counts, and fails if told to: for tests of what a session costs, and of outages."""

from __future__ import annotations

from datetime import datetime, timedelta

from dynamostore import Record, Store, StoreError


class CountingStore:
    """A store in front of another; *calls* are the verbs it was asked for, in order; *failure*, if set, is its answer."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.calls: list[str] = []
        self.failure: StoreError | None = None

    def _count(self, verb: str) -> None:
        self.calls.append(verb)
        if self.failure is not None:
            raise self.failure

    def taken(self) -> list[str]:
        """The calls since the last time this was asked."""
        calls, self.calls = self.calls, []
        return calls

    def find(self, token: str) -> Record | None:
        self._count("find")
        return self._store.find(token)

    def save(self, token: str, data: bytes, expiry: datetime) -> Record:
        self._count("save")
        return self._store.save(token, data, expiry)

    def create(self, token: str, data: bytes, expiry: datetime) -> Record:
        self._count("create")
        return self._store.create(token, data, expiry)

    def replace(self, record: Record, data: bytes, expiry: datetime) -> Record:
        self._count("replace")
        return self._store.replace(record, data, expiry)

    def touch(self, record: Record, expiry: datetime) -> Record:
        self._count("touch")
        return self._store.touch(record, expiry)

    def rename(
        self, record: Record, token: str, data: bytes, expiry: datetime, *, grace: timedelta = timedelta(0)
    ) -> Record:
        self._count("rename")
        return self._store.rename(record, token, data, expiry, grace=grace)

    def delete(self, token: str) -> None:
        self._count("delete")
        self._store.delete(token)

    def remove(self, record: Record) -> None:
        self._count("remove")
        self._store.remove(record)

    def ping(self) -> None:
        self._count("ping")
        self._store.ping()
