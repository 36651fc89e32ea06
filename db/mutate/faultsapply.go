package main

// applyFaults are in how events are compared with the index, and in how the log is replayed and verified.
var applyFaults = []fault{
	{
		"the cursor moves before the resync of a silent account has ended", "db/apply.go",
		"f, err = s.commitPart(f, s.progressBeforeLast(&b, f))",
		"f, err = s.commitPart(f, s.moved(&b, f, seq, timeUS))",
		"db.TestIdleResyncAfterFault",
	},
	{
		"a prefetched record hides what the batch made of it", "db/apply/delta.go",
		"if i, ok := d.byKey[string(key)]; ok {",
		"if i, ok := d.byKey[string(key)]; ok && len(d.prefetched.perEvent) == 0 {",
		"db.TestStoreEqualsModel",
	},
	{
		"a prefetched name hides its id of the batch", "db/apply/delta.go",
		"if id, ok := d.names[string(name)]; ok {",
		"if id, ok := d.names[string(name)]; ok && len(d.prefetched.absent) == 0 {",
		"db.TestStoreEqualsModel",
	},
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
		"a link in a block loses its rank", "db/logrow/block.go",
		"if l.Rank >= 0 {", "if l.Rank > 1<<62 {",
		"db/logrow.TestScan",
	},
	{
		"a link that went reads as added", "db/logrow/blockread.go",
		"if flags&linked != 0 {", "if true || flags&linked != 0 {",
		"db/logrow.TestScan",
	},
	{
		"a link in a log row has no checksum when it is read", "db/logrow/read.go",
		"r.Sum += links[k].checksum()", "_ = links[k].checksum",
		"db.TestLogInMemory",
	},
	{
		"a link has no checksum when rows are added up", "db/logrow/checksum.go",
		"sum += rows.Links[i].checksum()", "_ = rows.Links[i].checksum",
		"db/check.TestDamagedRows",
	},
	{
		"rows that don't fill a block are written alone", "db/logrow/block.go",
		"if !full && !all {", "if !full && !all && false {",
		"db/logrow.TestWaitingRows",
	},
	{
		"a damaged block hides those behind it from a check", "db/check/logrows.go",
		"after = damaged.Last", "after = to",
		"db/check.TestCheckFindsDamage",
	},
	{
		"a pruned block has rows that may not go", "db/prune.go",
		"if err != nil || end != 0 && end <= limit {", "if err != nil || end != 0 {",
		"db.TestQuietLogEnds",
	},
	{
		"a start packs the newest log rows only", "db/schema/packlog.go",
		"for left > 0 {", "for range min(left, 0) {",
		"db.TestOlderSchemas",
	},
	{
		"a walk of accounts misses what has changed since its beginning", "db/index/listdids.go",
		"logrow.Scan(ctx, s.core.Reader, since, to,", "logrow.Scan(ctx, s.core.Reader, to, to,",
		"db.TestAccountsMoveBetweenPages",
	},
	{
		"a repeat that newer events have overtaken is folded again", "db/apply/record.go",
		"if seen && r.rev <= newest {", "if seen && r.rev <= newest && false {",
		"db.TestFolding",
	},
	{
		"an event that one host lost is not applied when another host sends it", "db/apply/record.go",
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
		"the dedup window takes the last revision for the newest", "db/apply/dedup.go",
		"!ok || rev < seen.rev {", "!ok || rev != seen.rev {",
		"db.TestFolding",
	},
	{
		"after a start the window is empty, and taken for whole", "db/apply/dedupload.go",
		"l.w.old.add(l.w.record(dids[r.Actor], nsid, codec.RkeyString(r.Rkey)), r.Rev, r.TimeUS)", "_ = dids[r.Actor] + nsid",
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
		"what comes again from a gap is applied", "db/apply/applier.go",
		"if e.Seq >= gap.From && e.Seq <= gap.To {", "if e.Seq > gap.To && e.Seq < gap.From {",
		"db.TestRepeatsOfGap",
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
		"before[r.Actor] = logrow.Status(r.Status >> 4 & 7)", "before[r.Actor] = logrow.Status(r.Status & 15)",
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
		"j.down = purge&sealedDown != 0", "j.down = false",
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
		"a replay leaves out the first row", "db/logrow/read.go",
		"Between(after, to)); err != nil {", "Between(after+1, to)); err != nil {",
		"db.TestStoreEqualsModel",
	},
	{
		"a replay takes links of a row that is sealed", "db/logrow/read.go",
		"rs.Links[linksBefore(after+1):linksBefore(to+1)]}", "rs.Links[linksBefore(after):linksBefore(to+1)]}",
		"db/logrow.TestScan",
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
		"a row of a resync undoes a later event of another host", "db/apply/resync.go",
		"r.superseded[key] = rev", "_ = rev",
		"db.TestFolding",
	},
	{
		"rows of a resync that is open are pruned", "db/apply/state.go",
		"oldest = min(oldest, r.since)", "oldest = min(oldest, r.rev)",
		"db.TestPruneKeepsOpenResync",
	},
	{
		"a pruned log's dedup window begins at its first row", "db/apply/dedupload.go",
		"w.sinceUS = max(l.sinceUS, pruned)", "_, w.sinceUS = pruned, l.sinceUS",
		"db.TestDedupAfterPrune",
	},
	{
		"a change of status misses what its batch has changed", "db/apply/delta.go",
		"account.last = i", "account.last = none",
		"db.TestStoreEqualsModel",
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
		"a repeat brings a body back that has gone", "db/apply/body.go",
		"return b.cbor != nil && !f.mayRepeat(e)", "return b.cbor != nil",
		"db.TestBodiesWindow",
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
		"a follower keeps the changes of status of before when it begins anew", "db/apply/replay.go",
		"	clear(s.jobs)\n", "",
		"db.TestFollowerReopensDuringJob",
	},
	{
		"a late record that is out is indexed", "db/apply/record.go",
		"f.added = f.withoutOut(f.added)", "",
		"db.TestKeepLate",
	},
	{
		"a replay expects what a compaction has dropped", "db/apply/retention.go",
		"return slices.DeleteFunc(links, func(l codec.RecordLink) bool { return l.Rank < h.Of(l.Source) })",
		"_ = slices.DeleteFunc[[]codec.RecordLink]; return links",
		"db.TestKeepEqualsModel",
	},
}
