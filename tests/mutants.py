"""Each guard turned off in turn, in a copy: the tests or the simulation must notice. ``make mutants``.

Prints a Markdown table of what caught which, and exits with 1 if something went unnoticed.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PARTS = "dynamostore/plans/parts.py"
RENAMING = "dynamostore/plans/renaming.py"
VERBS = "dynamostore/plans/verbs.py"
EXPRESSIONS = "dynamostore/plans/expressions.py"
MARKERS = "dynamostore/markers.py"
CHECKS = "dynamostore/plans/checks.py"
FAULTS = "dynamostore/plans/faults.py"
CREATE_TABLE = "dynamostore/plans/create_table.py"
LINES = "dynamostore/batch/_lines.py"
FETCHING = "dynamostore/wire/_fetching.py"
WIRE_RETRIES = "dynamostore/wire/_retries.py"
SOCKETS = "dynamostore/wire/_sockets.py"
STREAMS = "dynamostore/wire/_streams.py"
ITEMS = "dynamostore/items.py"
LIFECYCLE = "session/plans/lifecycle.py"
STORING = "session/plans/storing.py"
MEETING = "session/plans/meeting.py"
ENDING = "session/plans/ending.py"
STATE = "session/_state.py"
ATOMIC = "session/plans/atomic.py"
CHANGES = "session/changes.py"
DRAFT = "session/draft.py"
MERGING = "session/merging.py"

# The tests that are asked, by the package of the guard, the innermost that is here; those that are likely to notice first.
TESTS = {
    "dynamostore": [
        "tests/test_contract.py",
        "tests/test_scs_items.py",
        "tests/test_retries.py",
        "tests/test_conflicts.py",
        "tests/test_renewal_grace.py",
        "tests/test_markers.py",
        "tests/test_deadline.py",
        "tests/test_global_tables.py",
        "tests/test_eviction.py",
        "tests/test_faults.py",
        "tests/test_create_table.py",
        "tests/test_public_errors.py",
    ],
    "dynamostore/batch": ["tests/test_hostile_files.py"],
    "dynamostore/wire": ["tests/test_dead_pools.py", "tests/test_wire_credentials.py", "tests/test_wire_settings.py"],
    "session": [
        "tests/test_stale.py",
        "tests/test_atomic.py",
        "tests/test_unknown_outcomes.py",
        "tests/test_renewals.py",
        "tests/test_after_the_end.py",
        "tests/test_conflicts.py",
        "tests/test_renewal_grace.py",
        "tests/test_deadline.py",
        "tests/test_session_calls.py",
        "tests/test_mergeable.py",
        "tests/test_flask_reruns.py",
        "tests/test_wsgi_reruns.py",
        "tests/test_levels.py",
        "tests/test_several_cookies.py",
        "tests/test_own_settings.py",
        "tests/test_on_corrupt.py",
        "tests/test_like_a_dict.py",
    ],
}
UNSIMULATED = ("dynamostore/batch/", "dynamostore/wire/")
SIMULATION = ["-m", "tests.simulation", "--steps"]
# A guard that the tests notice is looked for a while, one that they do not much longer.
STEPS = {True: ["100000"], False: ["400000", "400000"]}
AT_ONCE = 2


@dataclass(frozen=True)
class Mutant:
    """A guard, and the edit that turns it off: *old* becomes *new*, once, in *file*."""

    guard: str
    file: str
    old: str
    new: str


MUTANTS = [
    Mutant(
        "create: only if the token is free",
        EXPRESSIONS,
        'NOT_TAKEN = "attribute_not_exists(#token) OR #expiry < :now"',
        'NOT_TAKEN = "attribute_not_exists(#token) OR #expiry < :now OR attribute_exists(#token)"',
    ),
    Mutant(
        "writes: only on what has not expired",
        EXPRESSIONS,
        'LIVE = "#expiry >= :now"',
        'LIVE = "(#expiry >= :now OR #expiry < :now)"',
    ),
    Mutant(
        "touch, replace, rename: not before the expiry that others gave it",
        EXPRESSIONS,
        'NOT_SHORTENED = "#expiry <= :expiry"',
        'NOT_SHORTENED = "(#expiry <= :expiry OR attribute_exists(#expiry))"',
    ),
    Mutant(
        "replace, rename: only on the version that was read",
        EXPRESSIONS,
        'SAME = "#version = :was"',
        'SAME = "(#version = :was OR attribute_exists(#version))"',
    ),
    Mutant(
        "SCS's items: only without a version",
        EXPRESSIONS,
        "attribute_not_exists(#version) AND #expiry = :read AND #data = :held",
        "#expiry = :read AND #data = :held",
    ),
    Mutant(
        "SCS's items: only with the expiry that was read",
        EXPRESSIONS,
        "attribute_not_exists(#version) AND #expiry = :read AND #data = :held",
        "attribute_not_exists(#version) AND #data = :held",
    ),
    Mutant(
        "SCS's items: only with the data that was read",
        EXPRESSIONS,
        "attribute_not_exists(#version) AND #expiry = :read AND #data = :held",
        "attribute_not_exists(#version) AND #expiry = :read",
    ),
    Mutant("touch: only a record with data", VERBS, '"attribute_exists(#data) AND {LIVE}', '"{LIVE}'),
    Mutant(
        "touch: never an upsert",
        VERBS,
        'f"attribute_exists(#data) AND {LIVE} AND {shortened}"',
        'f"attribute_not_exists(#token) OR {LIVE} AND {shortened}"',
    ),
    Mutant("touch: not on what it was renamed to", VERBS, " or winner.token != record.token", ""),
    Mutant(
        "evict: only what is as it was read",
        EXPRESSIONS,
        'AS_READ = "#expiry = :read"',
        'AS_READ = "#expiry <> :read OR #expiry = :read"',
    ),
    Mutant(
        "delete: what an old token leads to, too",
        VERBS,
        "                chain.append(token)\n                there = self._lead(",
        "                chain.append(token)\n                there = None and self._lead(",
    ),
    Mutant(
        "delete: follows a marker past its expiry",
        PARTS,
        "moved = item is not None and self._is_renamed(item)\n",
        "moved = item is not None and self._is_renamed(item) and items.decode_expiry(self.table, item.reveal()) >= self.clock()\n",
    ),
    Mutant(
        "delete: not what a marker led to, once it has ended",
        PARTS,
        "moved = item is not None and self._is_renamed(item)\n",
        "moved = item is not None\n",
    ),
    Mutant(
        "find: follows a marker only before its expiry",
        PARTS,
        "            if expiry_ns < now_ns:\n",
        "            if expiry_ns < now_ns and not markers.is_kept(self.table, item.reveal(), now_ns):\n",
    ),
    Mutant("find: follows two markers, and no more", MARKERS, "MAX_HOPS: Final = 2\n", "MAX_HOPS: Final = 3\n"),
    Mutant(
        "find: does not evict a marker before its ttl",
        PARTS,
        "if expiry_ns < sure_ns and not markers.is_kept(self.table, item.reveal(), sure_ns):",
        "if expiry_ns < sure_ns:",
    ),
    Mutant(
        "find: evicts a marker that has ended",
        PARTS,
        "if expiry_ns < sure_ns and not markers.is_kept(self.table, item.reveal(), sure_ns):",
        "if expiry_ns < sure_ns and not markers.is_marker(self.table, item.reveal()):",
    ),
    Mutant(
        "rename: without a grace the marker has expired by every clock",
        MARKERS,
        "if grace else now_ns - _MARKER_NS",
        "if grace else now_ns - 1",
    ),
    Mutant(
        "rename: a marker stays for fifteen minutes",
        MARKERS,
        "return expiry_ns, items.ttl(min(max(expiry_ns, now_ns + _MARKER_NS), INT64_MAX))",
        "return expiry_ns, items.ttl(expiry_ns)",
    ),
    Mutant(
        "rename: a conflict says that the record was renamed",
        PARTS,
        "return conflict(token.reveal(), current, renamed=self._is_renamed(item))",
        "return conflict(token.reveal(), current)",
    ),
    Mutant(
        "remove: only what is as it was read",
        VERBS,
        "self._where(expressions.unchanged(record), expressions.was(record))",
        'self._where("attribute_exists(#token)", {})',
    ),
    Mutant(
        "remove: what is gone when it is sent again was removed",
        VERBS,
        "if item is not None or not failure.retried:",
        "if True:",
    ),
    Mutant(
        "remove: what is gone when it is sent once is a conflict",
        VERBS,
        "if item is not None or not failure.retried:",
        "if item is not None:",
    ),
    Mutant("an open outcome is told with its version", PARTS, "        error.version = new.version\n", ""),
    Mutant(
        "rename: removes only the record that was read",
        RENAMING,
        '        condition = f"{LIVE} AND {expressions.not_shortened(record, new)} AND {expressions.unchanged(record)}"\n        return condition,',
        '        condition = f"attribute_not_exists(#token) OR {LIVE} AND {expressions.not_shortened(record, new)}"\n        return condition,',
    ),
    Mutant(
        "rename: one transaction",
        RENAMING,
        "            yield from self._patiently(transaction)\n",
        "            raise Unsupported\n",
    ),
    Mutant(
        "rename in two steps: what was not renamed is taken back",
        RENAMING,
        "                yield from self._take_back(new, before)\n                raise found from failure\n",
        "                raise found from failure\n",
    ),
    Mutant(
        "rename in two steps: nothing is taken back whose marker may be there",
        RENAMING,
        "        except (UnavailableError, ThrottledError):\n            # The marker may have been written. Then the new record is the only one, so do not take it back.\n"
        "            raise\n",
        "",
    ),
    Mutant(
        "rename in two steps: what an earlier try left is known again",
        RENAMING,
        "        return items.decode(self.table, item.reveal()).version\n",
        "        return 0\n",
    ),
    Mutant(
        "rename in two steps: a renaming that was finished is not begun anew",
        RENAMING,
        "        if there is not None and there.reveal().get(self.table.moved) == AttributeValue(S=new.token):\n",
        "        if False:\n",
    ),
    Mutant(
        "rename: what is left behind remembers",
        EXPRESSIONS,
        ":version, #recent = :recent REMOVE #data",
        ":version REMOVE #data, #recent",
    ),
    Mutant(
        "the winner is read consistently, and alive",
        PARTS,
        "current = yield from self._record(token, item, evict=False)",
        "current = (yield from ()) or (items.decode(self.table, item) if item else None)",
    ),
    Mutant(
        "a version is random, not a counter", CHECKS, "items.new_version(),", "int.from_bytes(recent[:8], 'big') + 1,"
    ),
    Mutant(
        "a retry is known by its version",
        ITEMS,
        '    if _content(item, table.version, "N") == str(version):\n        return True',
        '    return False\n    if _content(item, table.version, "N") == str(version):\n        return True',
    ),
    Mutant("a retry is known though others wrote meanwhile", ITEMS, "RECENT = 8\n", "RECENT = 0\n"),
    Mutant(
        "a retry that cannot be known is no conflict",
        PARTS,
        "if (failure.retried or (failure.retried is None and version)) and items.forgot(",
        "if False and items.forgot(",
    ),
    Mutant(
        "expiry is checked on read", PARTS, "            if expiry_ns < now_ns:\n", "            if expiry_ns < 0:\n"
    ),
    Mutant(
        "session: written where it was read",
        STORING,
        '                "replace",\n                record=before,\n',
        '                "save",\n                token=before.token,\n',
    ),
    Mutant(
        "session: one that has ended stays ended",
        MEETING,
        "    state.gone = state.ended = True\n",
        "    state.gone = True\n",
    ),
    Mutant(
        "session: changes are made again on the winner's data",
        MEETING,
        "            writing.data = merged(left, base.data, theirs.data, policy.rules.mergeable)\n",
        "            merged(left, base.data, theirs.data, policy.rules.mergeable)\n",
    ),
    Mutant(
        "session: an expiry that others promised is kept",
        STORING,
        "    if not _shortens(state, before, policy):\n",
        "    if False:\n",
    ),
    Mutant(
        "session: what is stored is settled",
        STORING,
        "    state.draft.settle(writing.held)\n",
        "",
    ),
    Mutant(
        "session: what came to nothing is settled",
        STORING,
        "        yield from _touch(state, record, policy)\n        state.draft.settle(held.reveal())\n",
        "        yield from _touch(state, record, policy)\n",
    ),
    Mutant(
        "session: an unknown token is not adopted",
        STORING,
        "    token = Hidden(state.coming or state.tried_token or _state.new_token(policy))\n",
        "    token = Hidden(state.presented or state.tried_token or _state.new_token(policy))\n",
    ),
    Mutant(
        "session: a deadline that was set stands on the winner's data, too",
        MEETING,
        "        if not state.rescheduled:\n            writing.deadline_ns = theirs.deadline_ns\n",
        "        writing.deadline_ns = theirs.deadline_ns\n",
    ),
    Mutant(
        "session: a deadline alone is a change",
        STORING,
        "    if not (state.renewing or moves or changes):\n",
        "    if not (state.renewing or changes):\n",
    ),
    Mutant(
        "settings: alone they are a change",
        STORING,
        "    moves = state.deadline_moves or state.settings_differ\n",
        "    moves = state.deadline_moves\n",
    ),
    Mutant(
        "settings: they go onto the winner's",
        MEETING,
        "        writing.settings = {**theirs.settings, **state.told}\n",
        "",
    ),
    Mutant(
        "settings: they rest on what was read",
        MEETING,
        "    return changes is not None or state.renewing or state.app_rescheduled or state.settings_differ\n",
        "    return changes is not None or state.renewing or state.app_rescheduled\n",
    ),
    Mutant(
        "settings: a shorter idle timeout takes effect",
        STORING,
        "    if IDLE_TIMEOUT not in state.told:\n",
        "    if True:\n",
    ),
    Mutant(
        "increments add up",
        CHANGES,
        "        for key, by in self.incremented.items():\n            result[key] = add(key, result.get(key, 0), by)\n",
        "        for key, by in self.incremented.items():\n            result[key] = add(key, 0, by)\n",
    ),
    Mutant(
        "a change within a list counts",
        DRAFT,
        "            self._keep(key)\n            self._lent.add(key)\n",
        "            self._lent.add(key)\n",
    ),
    Mutant(
        "reads: the values are compared",
        MERGING,
        "if _differs(key, base.data, theirs.data) and counts(key)}",
        "if key is None and counts(key)}",
    ),
    Mutant(
        "reads: `in` is compared",
        MERGING,
        "    presence = {key for key in reads.presence if (key in base.data) != (key in theirs.data)}\n",
        "    presence: set[str] = set()\n",
    ),
    Mutant(
        "reads: the list of keys is compared",
        MERGING,
        "    if reads.unlisted is not None:\n",
        "    if reads.unlisted is not None and not presence:\n        presence = set()\n    elif reads.unlisted is not None:\n",
    ),
    Mutant("reads: emptiness is compared", MERGING, "        stale.add(ANY_KEY)\n", "        pass\n"),
    Mutant("reads: the deadline is compared", MERGING, "        stale.add(DEADLINE)\n", "        pass\n"),
    Mutant(
        "reads: in serialize also of what was overwritten",
        MERGING,
        "        if serialize or key in reads.taken or key in rules.checked:\n",
        "        if key in reads.taken or key in rules.checked:\n",
    ),
    Mutant(
        "reads: of what was taken, also in merge",
        MERGING,
        "        if serialize or key in reads.taken or key in rules.checked:\n",
        "        if serialize or key in rules.checked:\n",
    ),
    Mutant(
        "reads: of a message, where the request can be run again",
        MERGING,
        "        if serialize or key in reads.taken or key in rules.checked:\n",
        "        if serialize or key in reads.taken:\n",
    ),
    Mutant(
        "reads: of what was not overwritten",
        MERGING,
        "        return not (changes.cleared or key in changes.put or key in changes.removed)\n",
        "        return False\n",
    ),
    Mutant(
        "reads: of a mergeable key, if another key is changed",
        MERGING,
        "        if key in rules.unchecked or (merging and key in rules.mergeable and key not in rules.checked):\n",
        "        if key in rules.unchecked or (key in rules.mergeable and key not in rules.checked):\n",
    ),
    Mutant(
        "reads: they survive a save",
        DRAFT,
        "        elif self._blind:\n            self.seen -= self._blind\n",
        "        else:\n            self.seen = set()\n",
    ),
    Mutant(
        "reads: to read again what one put is none",
        DRAFT,
        "            values=_keys(self.seen - self._blind),\n",
        "            values=_keys(self.seen),\n",
    ),
    Mutant(
        "reads: what was read before everything was cleared",
        DRAFT,
        "        if self._cleared:\n            return self._before\n        return Reads(",
        "        if self._cleared:\n            return NOTHING_READ\n        return Reads(",
    ),
    Mutant(
        "reads: an increment that raises",
        DRAFT,
        "            # The error reveals the value's type or size, so it counts as a read.\n            self.seen.add(key)\n",
        "",
    ),
    Mutant(
        "reads: compared with what this request was shown",
        MEETING,
        "    stale = _stale(state, seen, theirs, left, policy) if changing else []\n",
        "    stale = _stale(state, snapshot(writing.target, policy), theirs, left, policy) if changing else []\n",
    ),
    Mutant(
        "reads: a request that changes nothing is never stale",
        MEETING,
        "    return changes is not None or state.renewing or state.app_rescheduled or state.settings_differ\n",
        "    return True\n",
    ),
    Mutant(
        "a value put as it was counts if another was faster",
        DRAFT,
        "        written = self._written\n        if self._lent:",
        "        written = {key: None for key in self._written if key in differing}\n        if self._lent:",
    ),
    Mutant(
        "a lost write of one's own makes no request stale",
        MEETING,
        "        if tried.is_in(winner):\n",
        "        if False and tried.is_in(winner):\n",
    ),
    Mutant(
        "a lost write of one's own counts increments once",
        MEETING,
        "    left = {key: by - tried.incremented.get(key, 0) for key, by in changes.incremented.items()}\n",
        "    left = dict(changes.incremented)\n",
    ),
    Mutant(
        "an end: who took a value is told",
        MEETING,
        "    refused = acts(state, changes) and (bool(reads) or state.read_deadline if serialize else bool(reads.taken))\n",
        "    refused = acts(state, changes) and (bool(reads) or state.read_deadline if serialize else False)\n",
    ),
    Mutant(
        "a logout: counts also if the request fails",
        LIFECYCLE,
        "        state.create_even_if_empty = False\n        yield from end(state, policy)\n",
        "        state.create_even_if_empty = False\n        yield from ()\n",
    ),
    Mutant(
        "a logout: reaches the session by an old token",
        ENDING,
        "    if token is None and not state.destroyed and is_well_formed_token(state.presented):\n",
        "    if False and is_well_formed_token(state.presented):\n",
    ),
    Mutant(
        "a logout: what is put after it rests on what was read",
        ENDING,
        "            if stale_keys(reads, changes, base, theirs, policy.rules, read_deadline=read_deadline, exclusive=True):\n",
        "            if False:\n",
    ),
    Mutant(
        "a logout: reaches what became corrupt meanwhile",
        ENDING,
        "            except CorruptSessionError:\n                return False\n",
        "            except CorruptSessionError:\n                raise\n",
    ),
    Mutant(
        "a later run: begins no session where it has ended",
        LIFECYCLE,
        "    if state.only_if_there:\n",
        "    if False:\n",
    ),
    Mutant(
        "a later run: looks for no other session than the one that was found",
        STATE,
        "    if not last.others and last.presented in state.sent:\n",
        "    if False:\n",
    ),
    Mutant(
        "a logout: ends the sessions of all cookies",
        ENDING,
        "    for other in map(Hidden, state.sent):\n",
        "    for other in ():\n",
    ),
    Mutant(
        "a renewal: none by a superseded token",
        STORING,
        "    if state.renewing and state.is_superseded(policy):\n",
        "    if False and state.is_superseded(policy):\n",
    ),
    Mutant(
        "a renewal: leaves the deadline that its request set",
        LIFECYCLE,
        '    if deadline == "new" and not state.dated:\n',
        '    if deadline == "new":\n',
    ),
    Mutant(
        "a renewal: a plain one gives no grace",
        STORING,
        "        has_grace = state.grace and policy.renewal_grace\n",
        "        has_grace = policy.renewal_grace\n",
    ),
    Mutant(
        "a renewal: its loser has read nothing of the session",
        STORING,
        "    read = (reads.values | reads.presence) - free\n",
        "    read: frozenset[str] = frozenset()\n",
    ),
    Mutant(
        "a renewal: its loser holds what it put, and no more",
        STORING,
        "    own = Hidden(own_part(changes or Changes(), snapshot(state.record, policy).data, policy.rules.mergeable))\n",
        "    own = Hidden(dict(state.draft.data))\n",
    ),
    Mutant(
        "atomic: written where it was read",
        ATOMIC,
        'call: Call[Record] = Call("replace", {"record": target, "data": payload.reveal(), "expiry": from_ns(expiry_ns)})',
        'call: Call[Record] = Call("save", {"token": target.token, "data": payload.reveal(), "expiry": from_ns(expiry_ns)})',
    ),
    Mutant(
        "atomic: the reads of the request are checked",
        ATOMIC,
        "outdated = check_reads(state, winner, changes, policy, conflict)\n",
        "outdated = frozenset()\n",
    ),
    Mutant(
        "atomic: to change nothing is a decision, too",
        ATOMIC,
        "    if there is None or not _same(there, target):\n",
        "    if there is None:\n",
    ),
    Mutant(
        "atomic: what cannot be merged is refused before it is stored",
        ATOMIC,
        "        raise SessionConflict(what, ours=state.draft.data, theirs=stored) from error\n",
        "        return dict(stored)\n",
    ),
    Mutant(
        "atomic: no pending clear",
        ATOMIC,
        "    if state.draft.cleared and (reads or meant):\n",
        "    if False:\n",
    ),
    Mutant(
        "atomic: reads of mergeable keys count by what the step changes",
        MEETING,
        "    stale = _stale(state, seen, theirs, changes, policy, exclusive=_is_exclusive(step, policy))\n",
        "    stale = _stale(state, seen, theirs, changes, policy)\n",
    ),
    Mutant(
        "atomic: a cancelled step may be stored",
        ATOMIC,
        "        note_tried_step(state, policy, 0, payload.reveal(), target, changed=changed)\n",
        "",
    ),
    Mutant(
        "a cancelled write may be stored",
        STORING,
        "            note_tried(state, 0, writing, policy, changes)\n",
        "",
    ),
    Mutant(
        "what was undone after a lost reply is stored undone",
        STORING,
        "    undone = any(state.draft.differs_from(each.data) for each in others)\n",
        "    undone = False\n",
    ),
    Mutant(
        "a renewal that was stored is not made again",
        STORING,
        "                state.token, state.coming, state.renewing, state.grace = state.coming, None, False, False\n",
        "                state.coming = None\n",
    ),
    Mutant(
        "a new session whose reply was lost is known by its token",
        STORING,
        "    tried, state.tried_token = token.reveal() == state.tried_token, token.reveal()\n",
        "    tried, state.tried_token = False, token.reveal()\n",
    ),
    Mutant(
        "raise: one's own lost write is no conflict",
        MEETING,
        '    if policy.on_conflict == "raise" and changing and not mine:\n',
        '    if policy.on_conflict == "raise" and changing:\n',
    ),
    Mutant(
        "where it cannot be known, nothing is counted twice",
        MEETING,
        "    return unknown and bool(changes.incremented",
        "    return False and bool(changes.incremented",
    ),
    Mutant(
        "destroy: a removal whose reply was lost is no other request's",
        ENDING,
        "            if winner is None and tried:\n",
        "            if False:\n",
    ),
    Mutant(
        "reads: what did not count at a save counts later",
        STORING,
        "        state.outdated |= writing.outdated\n",
        "",
    ),
    Mutant(
        "reads: what another task read meanwhile is compared later",
        MEETING,
        "        state.outdated |= outdated_keys(late, None, shown, stored, policy.rules)\n",
        "        pass\n",
    ),
    Mutant(
        "reads: a key that was listed and removed was taken",
        DRAFT,
        "        if (listed or key not in self._blind) and not self._cleared:\n",
        "        if key not in self._blind and not self._cleared:\n",
    ),
    Mutant(
        "reads: after a save the list of keys has the request's own",
        DRAFT,
        "        if self._unlisted is not None:\n            self._unlisted = frozenset()\n",
        "",
    ),
    Mutant(
        "reads: emptiness leaves out what the request removed itself",
        DRAFT,
        "            self._emptiness.add(frozenset(self._written))\n",
        "            self._emptiness.add(frozenset())\n",
    ),
    Mutant(
        "a list that another task changes while it is stored is changed",
        DRAFT,
        "        self._original = {key: self._handed_out(key, held) for key in self._lent}\n",
        "        self._original = {key: encode(self.data[key]) for key in self._lent}\n",
    ),
    Mutant(
        "rename: the new record remembers the versions before it",
        RENAMING,
        "beside=record.beside, recent=items.recent(record)\n        )\n        return (yield from tagging(new, self._rename",
        "beside=record.beside\n        )\n        return (yield from tagging(new, self._rename",
    ),
    Mutant(
        "atomic: what it read and changed counts as read",
        ATOMIC,
        "    state.draft.note(reads, changes.put.keys() | changes.removed)\n",
        "",
    ),
    Mutant(
        "atomic: no pending change of a key that it touches",
        ATOMIC,
        "    if both := sorted(touched & pending):\n",
        "    if both := sorted(touched & pending & frozenset()):\n",
    ),
    Mutant(
        "atomic: the request's own session is refused within it",
        ATOMIC,
        "    state.deciding, state.loaded = True, False\n",
        "    state.deciding, state.loaded = False, True\n",
    ),
    Mutant(
        "find: evicts only what has expired by the server's clock, too",
        PARTS,
        "sure_ns = self.server_time.earlier(self.clock, now_ns, reply and reply.reveal())",
        "sure_ns = now_ns",
    ),
    Mutant(
        "a transaction that was cancelled for want of capacity is made again",
        FAULTS,
        '    "ThrottlingError": Overloaded,\n',
        "",
    ),
    Mutant(
        "what a transaction is in the way of is made again",
        PARTS,
        "                if attempts >= error.attempts:\n",
        "                if True:\n",
    ),
    Mutant(
        "no private class of errors leaves the package",
        FAULTS,
        "    elif isinstance(error, PRIVATE):\n",
        "    elif False:\n",
    ),
    Mutant(
        "rename in two steps: where the marker may have ended, nobody knows",
        RENAMING,
        "            if item is None and failure.retried is not False and markers.has_ended(ttl, self.clock()):\n",
        "            if False:\n",
    ),
    Mutant(
        "rename in two steps: what it took the place of is put back",
        RENAMING,
        "            if before is not None and items.decode_expiry(self.table, before.reveal()) < self.clock():\n",
        "            if False:\n",
    ),
    Mutant(
        "create_table: a table that is being deleted is none",
        CREATE_TABLE,
        '        if description is not None and status != "DELETING":\n',
        "        if description is not None:\n",
    ),
    Mutant(
        "create_table: a table that is gone while it is waited for is created",
        CREATE_TABLE,
        "        if description is not None:\n            created = False\n",
        "        if description is not None:\n            created = True\n",
    ),
    Mutant(
        "load: only what can be found",
        LINES,
        "    if reason := items.why_not_findable(table, item.reveal()):\n",
        "    if reason := None:\n",
    ),
    Mutant(
        "credentials: one fetch for all who come at once",
        FETCHING,
        "        return self._next.setdefault(None, next_)\n",
        "        return next_\n",
    ),
    Mutant(
        "credentials: while they are good they are used, though their renewal hangs",
        FETCHING,
        "            if not found.is_good():\n                return None\n",
        "            return None\n",
    ),
    Mutant(
        "credentials: those that are not good any more are waited for",
        FETCHING,
        "            if not found.is_good():\n                return None\n",
        "",
    ),
    Mutant(
        "credentials: a failure is remembered for a second",
        FETCHING,
        "        if latest.has_failed and now - latest.ended < LOOK_EVERY:\n",
        "        if False:\n",
    ),
    Mutant(
        "credentials: those that were just fetched and are refused are not fetched again",
        FETCHING,
        "            if self._monotonic() - self._found_at < LOOK_EVERY:\n",
        "            if False:\n",
    ),
    Mutant(
        "credentials: those that have expired are fetched anew",
        WIRE_RETRIES,
        "        return refusal.code in EXPIRED and self._access.refuse(access)\n",
        "        return False\n",
    ),
    Mutant(
        "credentials: a forked child fetches for itself",
        FETCHING,
        "        here = self._processes.get(_forks)\n",
        "        here = self._processes.get(0)\n",
    ),
    Mutant(
        "a dead connection takes the older ones with it",
        SOCKETS,
        "            if kept is not None and looks_dead(error, begun):\n",
        "            if False:\n",
    ),
    Mutant(
        "a dead connection takes the older ones with it, async",
        STREAMS,
        "            if kept is not None and looks_dead(error, begun):\n",
        "            if False:\n",
    ),
    Mutant(
        "a new connection that is silent takes no others with it",
        SOCKETS,
        "            if kept is not None and looks_dead(error, begun):\n",
        "            if looks_dead(error, begun):\n",
    ),
    Mutant(
        "a retry after a lost connection is on a new one",
        WIRE_RETRIES,
        "                fresh = isinstance(error, TransportError)\n",
        "                fresh = False\n",
    ),
    Mutant(
        "atomic: a step whose reply was lost may be stored",
        ATOMIC,
        "        note_tried_step(state, policy, error.version, payload.reveal(), target, changed=changed)\n",
        "",
    ),
]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="only the guards whose names contain this")
    options = parser.parse_args()
    chosen = [mutant for mutant in MUTANTS if options.only in mutant.guard]
    unnoticed = 0
    print("| guard turned off | caught by |\n|---|---|", flush=True)
    started = time.monotonic()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for mutant, caught in zip(chosen, pool.map(try_out, chosen), strict=True):
            unnoticed += not caught
            print(f"| {mutant.guard} | {'; '.join(caught) or '**nothing**'} |", flush=True)
    print(f"\n{len(chosen)} guards, {unnoticed} unnoticed, {time.monotonic() - started:.0f} s")
    return 1 if unnoticed else 0


def try_out(mutant: Mutant) -> list[str]:
    """What notices the mutant, in a copy of the project."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "copy")
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "node_modules", "dist", "__pycache__"))
        file = copy / mutant.file
        text = file.read_text(encoding="utf-8")
        if text.count(mutant.old) != 1:
            raise SystemExit(
                f"mutants: {mutant.guard}: {mutant.file} has {mutant.old!r} {text.count(mutant.old)} times, not once"
            )
        file.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
        package = max((name for name in TESTS if mutant.file.startswith(f"{name}/")), key=len)
        noticed = by_tests(copy, TESTS[package])
        if mutant.file.startswith(UNSIMULATED):
            return noticed
        return [*noticed, *by_simulation(copy, STEPS[bool(noticed)])]


def by_tests(copy: Path, tests: list[str]) -> list[str]:
    """The first test that fails, by its name."""
    # One server, on boto3's client, is enough here.
    some = "not dynalite and not moto and not over"
    done = run(copy, ["-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-k", some, *tests])
    failed = re.findall(r"^(?:FAILED|ERROR) tests/(\S+)", done.stdout, re.MULTILINE)
    if done.returncode not in (0, 1) and not failed:
        raise SystemExit(f"mutants: pytest did not run:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return [f"`{failed[0].split('[')[0]}`"] if failed else []


def by_simulation(copy: Path, steps: list[str]) -> list[str]:
    """The invariant that the simulation finds broken, in so many steps of one seed and the next."""
    for seed, number in enumerate(steps):
        done = run(copy, [*SIMULATION, number, "--seed", str(seed)])
        if done.returncode:
            broken = re.search(r"^Broken: (.+?)(?: in run|$)", done.stdout, re.MULTILINE)
            return [f"simulation: {broken[1][:100] if broken else 'it did not run'}"]
    return []


def run(copy: Path, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    environment = {"PYTHONPATH": str(copy), "PATH": "/usr/bin:/bin", "HOME": str(copy)}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=copy,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


if __name__ == "__main__":
    sys.exit(main())
