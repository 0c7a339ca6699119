"""A store that counts: for tests of what a session costs."""

from __future__ import annotations

from datetime import datetime, timedelta

from dynamostore import Record, Store


class CountingStore:
    """A store in front of another; *calls* are the verbs it was asked for, in order."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.calls: list[str] = []

    def taken(self) -> list[str]:
        """The calls since the last time this was asked."""
        calls, self.calls = self.calls, []
        return calls

    def find(self, token: str) -> Record | None:
        self.calls.append("find")
        return self._store.find(token)

    def save(self, token: str, data: bytes, expiry: datetime) -> Record:
        self.calls.append("save")
        return self._store.save(token, data, expiry)

    def create(self, token: str, data: bytes, expiry: datetime) -> Record:
        self.calls.append("create")
        return self._store.create(token, data, expiry)

    def replace(self, record: Record, data: bytes, expiry: datetime) -> Record:
        self.calls.append("replace")
        return self._store.replace(record, data, expiry)

    def touch(self, record: Record, expiry: datetime) -> Record:
        self.calls.append("touch")
        return self._store.touch(record, expiry)

    def rename(
        self, record: Record, token: str, data: bytes, expiry: datetime, *, grace: timedelta = timedelta(0)
    ) -> Record:
        self.calls.append("rename")
        return self._store.rename(record, token, data, expiry, grace=grace)

    def delete(self, token: str) -> None:
        self.calls.append("delete")
        self._store.delete(token)

    def ping(self) -> None:
        self.calls.append("ping")
        self._store.ping()
