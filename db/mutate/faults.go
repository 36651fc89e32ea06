package main

// fault is a change of one line, whose old text is in its file exactly once.
type fault struct {
	name     string // what it breaks
	file     string
	old, new string
	test     string // that catches it: its package in the module, a dot, its name
}

var faults = []fault{
	{
		"what is damaged is replayed", "db/logrow/verify.go",
		"if !stored.Known || !after.Known ||", "if true || !stored.Known || !after.Known ||",
		"db/check.TestDamagedRows",
	},
	{
		"a link's target has no checksum", "db/logrow/checksum.go",
		"return xxhash.Sum64(append(b, l.Target...))", "return xxhash.Sum64(b)",
		"db/check.TestDamagedRows",
	},
	{
		"a status has no checksum", "db/write.go",
		"if err := w.sums.ChangeStatus(tx, rs.Status); err != nil {", "if err := error(nil); err != nil {",
		"db/check.TestDamagedRows",
	},
	{
		"a segment doesn't say the checksums of what it covers", "db/seal.go",
		"fz.row.SetChecksums(v.Sums)", "fz.row.SetChecksums(logrow.Checksums{})",
		"db/check.TestDamagedRows",
	},
	{
		"the rows of an older weft's pruned log have no checksum", "db/firstchecksums.go",
		"if oldest > 1 { // as old", "if oldest > 1<<62 { // as old",
		"db.TestUpgradedChecksums",
	},
	{
		"a segment of another index is taken", "db/index/files.go",
		`if meta["instance"] != c.Instance {`, "if false {",
		"db/check.TestBelongs",
	},
	{
		"a newer schema is opened by a connection that writes", "db/store.go",
		"if err := schema.RefuseNewer(uri, path); err != nil {", "if err := error(nil); err != nil {",
		"db.TestNextSchema",
	},
	{
		"a segment of another format is made again", "db/index/files.go",
		"case errors.Is(err, segment.ErrFormat):", "case false && errors.Is(err, segment.ErrFormat):",
		"db.TestSegmentFormats",
	},
	{
		"a repeat that newer events have overtaken is folded again", "db/apply/record.go",
		"if seen && r.rev <= newest {", "if seen && r.rev <= newest && false {",
		"db.TestFolding",
	},
	{
		"what one host has lost is left out when another tells it", "db/apply/record.go",
		"!seen && !window.covers(r.rev, r.TimeUS) {", "true {",
		"db.TestLateByRecord",
	},
	{
		"what is older than the window is folded again", "db/apply/dedup.go",
		"return eventTime(rev, timeUS) > w.sinceUS+codec.MaxSkewUS", "return true",
		"db.TestLateByRecord",
	},
	{
		"the window forgets up to where it has gone", "db/apply/dedup.go",
		"w.sinceUS = max(w.sinceUS, w.old.toUS)", "_ = w.old.toUS",
		"db.TestLateByRecord",
	},
	{
		"the window takes the revision told last for the newest", "db/apply/dedup.go",
		"!ok || rev < seen.rev {", "!ok || rev != seen.rev {",
		"db.TestFolding",
	},
	{
		"after a start the window is empty, and taken for whole", "db/apply/dedup.go",
		"w.old.add(w.record(did, nsid, codec.RkeyString(r.Rkey)), r.Rev, r.TimeUS)", "_ = did + nsid",
		"db.TestHostsLose",
	},
	{
		"what was buried comes back from another host", "db/apply/record.go",
		"if window.beforeDeletion(r.actor, r.rev, r.TimeUS) ||", "if false ||",
		"db.TestHostsLose",
	},
	{
		"what a resync has removed comes back from another host", "db/apply/record.go",
		"class == classOutOfOrder && r.rev < f.readSynced(r.actor) {", "false {",
		"db.TestHostsLose",
	},
	{
		"a late event sets its account back", "db/apply/record.go",
		"row.OutOfOrder = r.class == classOutOfOrder", "row.OutOfOrder = false",
		"db.TestFolding",
	},
	{
		"a replay of a late event sets its account back", "db/apply/replay.go",
		"r.Status == logrow.StatusOutOfOrder || ", "",
		"db.TestFolding",
	},
	{
		"an update leaves the old links in the lists", "db/apply/applier.go",
		"f.d.linkAll(removed, actor, rkey, codec.Unlinked)", "f.d.linkAll(nil, actor, rkey, codec.Unlinked)",
		"db.TestStoreEqualsModel",
	},
	{
		"a hidden account's links stay in the lists", "db/apply/statusjob.go",
		"f.d.linkAll(links, actor, rkey, codec.Unlinked)", "f.d.linkAll(nil, actor, rkey, codec.Unlinked)",
		"db.TestStoreEqualsModel",
	},
	{
		"a purge keeps the records", "db/apply/statusjob.go",
		"f.d.setRecord(actor, key, nil, true)", "f.d.setRecord(actor, key, value, true)",
		"db.TestStoreEqualsModel",
	},
	{
		"what an account's status was is forgotten by a replay", "db/apply/loadstate.go",
		"s.status.set(p.Actor, logrow.Status(p.Status>>4&7))", "s.status.set(p.Actor, logrow.Status(p.Status&15))",
		"db.TestStoreEqualsModel",
	},
	{
		"a job that turns goes on in its direction", "db/apply/statusjob.go",
		"down: !j.down, thenPurge", "down: j.down, thenPurge",
		"db/apply.TestJobTurns",
	},
	{
		"a job on the way down begins behind its end", "db/apply/statusjob.go",
		"to = successor(j.after)", "to = j.after",
		"db.TestFlappingAccounts",
	},
	{
		"a deletion that meets a job only hides", "db/apply/statusjob.go",
		"s.setJob(actor, &job{purge: true})", "s.setJob(actor, nil)",
		"db/apply.TestJobTurns",
	},
	{
		"a sealed job forgets that it goes down", "db/apply/loadstate.go",
		"down: r.Purge&sealedDown != 0", "down: false",
		"db.TestFlappingAccounts",
	},
	{
		"an account comes back while its records go", "db/apply/account.go",
		"return actor, known && f.state.jobs[actor] != nil", "return actor, known && false",
		"db.TestFlappingAccounts",
	},
	{
		"a part of a batch forgets what may be a repeat", "db/apply/applier.go",
		"next.high = f.high", "next.high = 0",
		"db.TestStoreEqualsModel",
	},
	{
		"a seal that lacks something stops writing", "db/retry.go",
		"!errors.Is(err, errNotWritten) || !index.IsTransient(err)", "err != nil || !index.IsTransient(err)",
		"db.TestLackPasses",
	},
	{
		"the difference of two sets of links ends with the shorter one", "db/codec/record.go",
		"i < len(old) || j < len(next);", "i < len(old) && j < len(next);",
		"db.TestStoreEqualsModel",
	},
	{
		"a link that is kept gets a new rank", "db/codec/record.go",
		"next[j].Rank = old[i].Rank", "_ = old[i].Rank",
		"db.TestStoreEqualsModel",
	},
	{
		"a TID of the far future ranks its links", "db/codec/position.go",
		"ok && int64(rank) <= timeUS+MaxSkewUS {", "ok {",
		"db/codec.TestRankOf",
	},
	{
		"two additions cancel each other, and a removal does not cancel one", "db/index/keyspaces.go",
		"return older[0] != newer[0] }", "return older[0] == newer[0] }",
		"db.TestStoreEqualsModel",
	},
	{
		"a compaction above the bottommost run drops tombstones", "db/lsm/compactioniterator.go",
		"if live && !(c.bottommost && c.keyspace", "if live && !(c.keyspace",
		"db/lsm.TestTreeEqualsMap",
	},
	{
		"each compaction in memory is bottommost", "db/lsm/tree.go",
		"compactInMemory(t.Keyspace, t.Runs[i:], i == 0)", "compactInMemory(t.Keyspace, t.Runs[i:], true)",
		"db/lsm.TestTreeEqualsMap",
	},
	{
		"a seal takes itself for the lowest", "db/seal.go",
		"s.makeSegment(fz.row, fz.runs, fz.below == 0, 0)", "s.makeSegment(fz.row, fz.runs, true, 0)",
		"db.TestStoreEqualsModel",
	},
	{
		"a merge of segments takes itself for the lowest", "db/compact.go",
		"first == v.Files.Files[0], fileBytes(files))", "true, fileBytes(files))",
		"db.TestSealMergePrune",
	},
	{
		"runs that are being sealed are merged with newer ones", "db/seal.go",
		"stack.NoCompact = len(stack.Runs)", "stack.NoCompact = fz.below",
		"db.TestSealMergePrune",
	},
	{
		"a merge of segments lets go of the runs that are being sealed", "db/index/files.go",
		"stack.NoCompact = len(files) + max(stack.NoCompact-drop(i), 0)", "stack.NoCompact = len(files)",
		"db.TestFrozenOutlivesMerge",
	},
	{
		"sealed runs stay in memory too", "db/seal.go",
		"return len(below) + len(fz.runs[i]) })", "return len(below) })",
		"db.TestStoreEqualsModel",
	},
	{
		"names are not sealed", "db/seal.go",
		"lsm.NewCompactionIterator(index.RunKinds[id].Keyspace, runs[i], bottom)",
		"lsm.NewCompactionIterator(index.RunKinds[id].Keyspace, runs[i][:len(runs[i])*min(1, 2-i)], bottom)",
		"db.TestStoreEqualsModel",
	},
	{
		"the newest account is taken for sealed", "db/seal.go",
		"Actors: names.Actors,", "Actors: names.Actors + 1,",
		"db.TestCheckHistories",
	},
	{
		"a replay leaves out the first row", "db/logrow/read.go",
		"FROM records WHERE seq > ? AND seq <= ? ORDER BY seq\",\n\t\tint64(after), int64(to))",
		"FROM records WHERE seq > ? AND seq <= ? ORDER BY seq\",\n\t\tint64(after)+1, int64(to))",
		"db.TestStoreEqualsModel",
	},
	{
		"a replay takes links of a row that is sealed", "db/logrow/read.go",
		"int64((after+1)<<LinkShift), int64((to+1)<<LinkShift))", "int64(after<<LinkShift), int64((to+1)<<LinkShift))",
		"db.TestStoreEqualsModel",
	},
	{
		"a replay forgets what a resync has seen", "db/apply/replay.go",
		"case rev == r.rev && op != logrow.OpDelete:", "case false:",
		"db.TestStoreEqualsModel",
	},
	{
		"a resync removes what it has seen", "db/apply/resync.go",
		"if _, ok := r.seen[string(key)]; ok {", "if _, ok := r.seen[string(key)]; !ok {",
		"db.TestStoreEqualsModel",
	},
	{
		"an event is lost whose resync ends in several commits", "db/apply.go",
		"for !f.Apply(&events[i]) {", "if !f.Apply(&events[i]) {",
		"db.TestStoreEqualsModel",
	},
	{
		"a sync that comes again after its resync opens it again", "db/apply/resync.go",
		"|| rev <= f.readSynced(actor)) {", ") {",
		"db.TestFolding",
	},
	{
		"another host's events end a resync", "db/apply/resync.go",
		"case !r.isFrom(f.from.Host):\n\t\treturn true", "case false:\n\t\treturn true",
		"db.TestFolding",
	},
	{
		"another host's silence ends a resync", "db/apply/resync.go",
		"return r.isFrom(f.from.Host) && !f.isOutlier(f.nowUS) && f.nowUS-r.lastUS > resyncIdleUS",
		"return f.nowUS-r.lastUS > resyncIdleUS",
		"db.TestFolding",
	},
	{
		"a row of a resync undoes what another host has told since", "db/apply/resync.go",
		"r.superseded[key] = rev", "_ = rev",
		"db.TestFolding",
	},
	{
		"rows of a resync that is open are pruned", "db/apply/state.go",
		"oldest = min(oldest, r.since)", "oldest = min(oldest, r.rev)",
		"db.TestPruneKeepsOpenResync",
	},
	{
		"links that were handed over are written again", "db/write.go",
		"*m = mark{len(rs.Names), len(rs.Log), len(rs.Links)}", "*m = mark{len(rs.Names), len(rs.Log), m.links}",
		"db.TestStoreEqualsModel",
	},
	{
		"a batch whose folding fails is committed", "db/apply.go",
		"if err := f.Err(); err != nil {\n\t\treturn s.fail(fmt.Errorf(\"db: apply",
		"if err := f.Err(); false {\n\t\treturn s.fail(fmt.Errorf(\"db: apply",
		"db.TestNothingOfAFaultyFold",
	},
	{
		"a span of a timeline has the newer ones' links as well", "db/index/timeline.go",
		"begin = end", "_ = end",
		"db.TestStoreEqualsModel",
	},
	{
		"a pruned log's dedup window begins at its first row", "db/apply/dedup.go",
		"w.sinceUS = max(sinceUS, pruned)", "_, w.sinceUS = pruned, sinceUS",
		"db.TestDedupAfterPrune",
	},
	{
		"a backfill's rows grow old by our clock", "db/logclock.go",
		"c.us = max(c.us, newestUS)", "c.us = max(c.us, min(newestUS, c.us+1))",
		"db.TestBackfillPrunes",
	},
	{
		"a quiet log's clock stands", "db/logclock.go",
		"c.us += ran.Microseconds()", "_ = ran.Microseconds()",
		"db.TestQuietLogEnds",
	},
	{
		"a log row goes five minutes too early", "db/prune.go",
		`WHERE clock_us <= ?"`, `WHERE clock_us <= 300000000 + ?"`,
		"db.TestQuietLogEnds",
	},
	{
		"rows that no segment has and none will have are old", "db/prunetick.go",
		"if err == nil && old > v.Sealed {", "if err == nil && old > 1<<62 {",
		"db.TestQuietLogEnds",
	},
	{
		"rows are pruned that no segment holds", "db/prune.go",
		"limit := min(s.log.upTo, s.core.Snapshot().Sealed)", "limit := s.log.upTo",
		"db.TestUnsealedRowsStay",
	},
	{
		"a rewind moves the cursor back", "db/index/position.go",
		"if seq >= u.Seq {", "if true {",
		"db/index.TestMoved",
	},
	{
		"a rewind forgets what may be a repeat", "db/index/position.go",
		"u.High = max(u.High, seq)\n\treturn u", "u.High = seq\n\treturn u",
		"db/index.TestMoved",
	},
	{
		"a page begins with the last link of the page before", "db/index/list.go",
		"from = append(at, 0) //", "from = at //",
		"db.TestStoreEqualsModel",
	},
	{
		"a filtered page begins with the last link of the page before", "db/index/list.go",
		"c == 0 || c < 0 != reverse {", "c < 0 != reverse {",
		"db.TestFilteredLists",
	},
	{
		"a page of many-to-many begins with the last item of the page before", "db/index/many.go",
		"if bytes.Compare(other, reached) > 0 {", "if bytes.Compare(other, reached) >= 0 {",
		"db.TestStoreEqualsModel",
	},
	{
		"a removal counts as an account that links", "db/index/list.go",
		"set.Add(member, sign*ByTarget.DeltaOf(w.Value()))", "set.Add(member, sign)",
		"db.TestLongLists",
	},
	{
		"sets are merged without their removals", "db/distinct/set.go",
		"s.removed.merge(o.removed)", "s.removed.merge(nil)",
		"db/distinct.TestSetEqualsMap",
	},
	{
		"a filter in memory denies what it holds", "db/lsm/bloom.go",
		"if block[bits>>6&7]&(1<<(bits&63)) == 0 {", "if block[bits>>6&7]&(1<<(bits&63)) != 0 {",
		"db/lsm.TestFilter",
	},
	{
		"a filter in a segment denies what it holds", "db/segment/filter.go",
		"page[at+int(probes>>6&7)*8:])&(1<<(probes&63)) == 0 {", "page[at+int(probes>>6&7)*8:])&(1<<(probes&63)) != 0 {",
		"db/segment.TestFilter",
	},
	{
		"a change of status misses what its batch has changed", "db/apply/delta.go",
		"d.actors[actor] = append(d.actors[actor], name)", "delete(d.actors, actor)",
		"db.TestStoreEqualsModel",
	},
	{
		"the minutes of a segment deny what it holds", "db/segment/run.go",
		"ok && !r.minutes.Contains(m) {", "ok && r.minutes.Contains(m) {",
		"db/segment.TestTreeEqualsMap",
	},
	{
		"what a crash has left behind is not removed", "db/index/files.go",
		"if named[e.Name()] || !SegmentName.MatchString(e.Name()) {",
		"if named[e.Name()] || SegmentName.MatchString(e.Name()) {",
		"db.TestStrayFiles",
	},
	{
		"no log row puts a body out of date", "db/apply/record.go",
		"Rev: r.rev, Replaced: replaced}", "Rev: r.rev}",
		"db.TestCheckHistories",
	},
	{
		"a replay forgets bodies", "db/apply/replay.go",
		"case body && len(next) > 0:", "case false && len(next) > 0:",
		"db.TestStoreEqualsModel",
	},
	{
		"a body stays when its log row is overtaken", "db/bodyprune.go",
		"seq IN (SELECT body FROM replaced WHERE seq <= ?)", "seq IN (SELECT body FROM replaced WHERE seq < 0 * ?)",
		"db.TestBodiesWindow",
	},
	{
		"a body goes when its log row does, though the record has it", "db/bodyprune.go",
		"if s.cfg.Bodies == BodiesWindow {", "if false {",
		"db.TestBodiesWindow",
	},
	{
		"a repeat brings a body back that has gone", "db/apply/body.go",
		"return b.cbor != nil && !f.mayRepeat(e)", "return b.cbor != nil",
		"db.TestBodiesWindow",
	},
	{
		"bodies from before a time without count", "db/bodies.go",
		"kept.Since = newest //", "kept.Since = since //",
		"db.TestBodiesModes",
	},
	{
		"a deleted account's bodies stay", "db/apply/statusjob.go",
		"f.purgeBody(value)", "_ = value",
		"db.TestBodies",
	},
	{
		"a body is kept that is not what its CID says", "db/apply/body.go",
		"case sum == b.digest:", "case len(sum) > 0:",
		"db.TestBadBodies",
	},
	{
		"a block counts no body that goes", "migrations/00003_blocks.sql",
		"refs = refs - 1 WHERE id = old.block", "refs = refs - 0 WHERE id = old.block",
		"db.TestBodyTriggers",
	},
	{
		"a block that was found counts no second body", "migrations/00003_blocks.sql",
		"refs = refs + 1 WHERE id = new.block", "refs = 1 WHERE id = new.block",
		"db.TestBodyTriggers",
	},
	{
		"a follower knows no names that come after its start", "db/apply/replay.go",
		"if err := s.loadNewNames(ctx, q, &next, allNames); err != nil {", "if err := error(nil); err != nil {",
		"db.TestFollowerEqualsModel",
	},
	{
		"a follower lays its index on new segments with the statuses of later", "db/apply/replay.go",
		"if err := s.takeBackStatus(ctx, q, next.Sealed, seq); err != nil {", "if err := error(nil); err != nil {",
		"db.TestFollowerOfTheKilled",
	},
	{
		"a follower doesn't notice that the log has left it behind", "db/follower.go",
		"case err != nil && oldest != v.Seq+1 && covered != v.Seq:", "case false:",
		"db.TestFollowerEqualsModel",
	},
	{
		"a follower doesn't notice that the log has gone back", "db/follower.go",
		"case max(newest, covered) < v.Seq:", "case false:",
		"db.TestCopyGoesBack",
	},
	{
		"a follower keeps the changes of status of before when it begins anew", "db/apply/replay.go",
		"	clear(s.jobs)\n", "",
		"db.TestFollowerReopensDuringJob",
	},
	{
		"a feed passes over a segment by the rank of its last entry", "db/ranknotes.go",
		"n.newest = max(n.newest, p.Rank)", "n.newest = p.Rank",
		"db.TestCopyEqualsModel",
	},
	{
		"a follower shows another index", "db/follower.go",
		"if instance != f.core.Instance {", "if false && instance != f.core.Instance {",
		"db.TestFollowerRefuses",
	},
	{
		"a follower takes any number of log rows into memory", "db/follower.go",
		"case files == nil && v.MutableBytes() >= f.hold:", "case false:",
		"db.TestFollowerHolds",
	},
	{
		"a copy keeps the pages of a change that broke off", "db/copy.go",
		"	_ = t.tx.Rollback()", "	_ = t.tx.Commit()",
		"db.TestCopyEqualsModel",
	},
	{
		"a copy's position stays behind its pages", "db/copy.go",
		"\"user_version\": int32(t.change.Position),", "",
		"db.TestCopyEqualsModel",
	},
	{
		"a copy keeps the low half of its position alone", "db/copy.go",
		"\"application_id\": int32(t.change.Position >> 32)", "\"application_id\": 0",
		"db.TestCopyEqualsModel",
	},
	{
		"a copy is taken for an index of one's own", "db/store.go",
		"err == nil && at > 0 {", "err == nil && at > 0 && false {",
		"db.TestCopyRefuses",
	},
	{
		"a link that is older than the first one is not the first", "db/index/firstmarks.go",
		"m.mark(older[mark.account])", "m.mark(mark)",
		"db.TestMarkedAccounts",
	},
	{
		"an account that has lost its first link has lost all", "db/index/firstmarks.go",
		"if unresolved || m.repeaters.Contains(e.account) {", "if unresolved {",
		"db.TestMarkedAccounts",
	},
	{
		"a first link that came since the walk began has always been it", "db/index/markpage.go",
		"isMoved || changes[string(e.at)] == cameSince ||", "isMoved ||",
		"db.TestMarkedAccounts",
	},
	{
		"a list has what is out", "db/index/list.go",
		"l.to = horizonKey(prefix, l.horizon)", "l.to = lsm.PrefixEnd(prefix)",
		"db.TestKeepEqualsModel",
	},
	{
		"a count of accounts has what is out", "db/index/list.go",
		"sets = append(sets, out)", "_ = out",
		"db.TestKeepLongList",
	},
	{
		"a page of accounts has what is out since the list was marked", "db/index/markcache.go",
		"if m.horizon < l.horizon {", "if false {",
		"db.TestKeepLongList",
	},
	{
		"a feed has what is out", "db/index/accountquery.go",
		"case isOut(f.v.Horizons.Of(source), rank):", "case false:",
		"db.TestKeepEqualsModel",
	},
	{
		"a compaction uncovers an older version of a record that is out", "db/lsm/compactioniterator.go",
		"return stays || value == nil, nil", "return stays, nil",
		"db/lsm.TestCompactionKeep",
	},
	{
		"a late record that is out is indexed", "db/apply/record.go",
		"return removed, f.withoutOut(added)", "return removed, added",
		"db.TestKeepLate",
	},
	{
		"a horizon goes back when rules change", "db/keep/retention.go",
		"us = max(us, r.sets[i].rules.list[rule].horizon(r.sets[i].ClockUS))",
		"us = r.sets[i].rules.list[rule].horizon(r.sets[i].ClockUS)",
		"db/keep.TestHorizonsNeverGoBack",
	},
	{
		"a replay expects what a compaction has dropped", "db/apply/retention.go",
		"return slices.DeleteFunc(links, func(l codec.RecordLink) bool { return l.Rank < h.Of(l.Source) })",
		"_ = slices.DeleteFunc[[]codec.RecordLink]; return links",
		"db.TestKeepEqualsModel",
	},
	{
		"bodies of records that are out stay", "db/outfilter.go",
		"if seq := codec.BodyRef(value); seq > 0 {", "if seq := codec.BodyRef(value); false {",
		"db.TestKeepGivesSpaceBack",
	},
}
