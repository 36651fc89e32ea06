package main

// indexFaults are in runs, segments, queries, compactions, retention and the store around them.
var indexFaults = []fault{
	{
		"a compaction doesn't wait for a seal", "db/worker.go",
		"for s.mustAwaitSeal() && !s.hurry && s.Failed() == nil {", "for false {",
		"db.TestCompactionAwaitsSeal",
	},
	{
		"a compaction that waited for a seal waits for the next one too", "db/worker.go",
		"for s.mustAwaitSeal() && !s.hurry && s.Failed() == nil {",
		"for s.seals.busy.Load() && !s.hurry && s.Failed() == nil {",
		"db.TestCompactionAwaitsSeal",
	},
	{
		"the end of a seal wakes no compaction", "db/seal.go",
		"s.sealed.Broadcast()", "_ = s.sealed",
		"db.TestCompactionAwaitsSeal",
	},
	{
		"a value shares its memory with later look-ups", "db/segment/run.go",
		"return bytes.Clone(value), ok, nil", "return value, ok, nil",
		"db/segment.TestFindOnce",
	},
	{
		"a look-up of the writer fills the cache", "db/segment/run.go",
		"if hint&lsm.Once != 0 {", "if false {",
		"db/segment.TestFindOnce",
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
		"if oldest > 1 { // with", "if oldest > 1<<62 { // with",
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
		"a seal that lacks something stops writing", "db/retry.go",
		"!errors.Is(err, errNotWritten) || errors", "err != nil || errors",
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
		"bottom: fz.below == 0}", "bottom: true}",
		"db.TestStoreEqualsModel",
	},
	{
		"a merge of segments takes itself for the lowest", "db/compact.go",
		"bottom: first == v.Files.Files[0],", "bottom: true,",
		"db.TestSealMergePrune",
	},
	{
		"small segments wait for the end of a large compaction", "db/compact.go",
		"files[len(files)-1].Level+1 >= level {", "files[len(files)-1].Level+1 >= 0 {",
		"db.TestSmallerCompactions",
	},
	{
		"runs that are being sealed are merged with newer ones", "db/seal.go",
		"tree.NoCompact = len(tree.Runs)", "tree.NoCompact = fz.below",
		"db.TestSealMergePrune",
	},
	{
		"a merge of segments lets go of the runs that are being sealed", "db/index/files.go",
		"tree.NoCompact = len(files) + max(tree.NoCompact-drop(i), 0)", "tree.NoCompact = len(files)",
		"db.TestFrozenOutlivesMerge",
	},
	{
		"sealed runs stay in memory too", "db/seal.go",
		"return len(below) + len(fz.runs[i]) })", "return len(below) })",
		"db.TestStoreEqualsModel",
	},
	{
		"names are not sealed", "db/seal.go",
		"lsm.NewCompactionIterator(index.RunKinds[id].Keyspace, p.runs[i], p.bottom)",
		"lsm.NewCompactionIterator(index.RunKinds[id].Keyspace, p.runs[i][:len(p.runs[i])*min(1, 2-i)], p.bottom)",
		"db.TestStoreEqualsModel",
	},
	{
		"the newest account is taken for sealed", "db/seal.go",
		"Actors: names.Actors,", "Actors: names.Actors + 1,",
		"db.TestCheckHistories",
	},
	{
		"an event is lost whose resync ends in several commits", "db/apply.go",
		"for !f.Apply(&events[i]) {", "if !f.Apply(&events[i]) {",
		"db.TestStoreEqualsModel",
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
		"a backfill's rows grow old by our clock", "db/logclock/clock.go",
		"c.us = max(c.us, newestUS)", "c.us = max(c.us, min(newestUS, c.us+1))",
		"db.TestBackfillPrunes",
	},
	{
		"a quiet log's clock stands", "db/logclock/clock.go",
		"c.us += ran.Microseconds()", "_ = ran.Microseconds()",
		"db.TestQuietLogEnds",
	},
	{
		"a log row goes five minutes too early", "db/logclock/clock.go",
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
		"each commit deletes rows, however few", "db/prune.go",
		"if w.added < w.s.cfg.SealBytes/pruneShare {", "if w.added < 1 {",
		"db.TestPruneTogether",
	},
	{
		"a seal by age lacks its mark", "db/prune.go",
		"int64(min(sealed, l.upTo))", "int64(max(sealed, l.upTo))",
		"db.TestPruneTogether",
	},
	{
		"a rewind moves the cursor back", "db/index/upstream.go",
		"if seq >= u.Seq {", "if true {",
		"db/index.TestMoved",
	},
	{
		"a rewind forgets what may be a repeat", "db/index/upstream.go",
		"u.High = max(u.High, seq)\n\treturn u", "u.High = seq\n\treturn u",
		"db/index.TestMoved",
	},
	{
		"a page begins with the last link of the page before", "db/index/listscan.go",
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
		"a fixed block is sought between separators of the same order", "db/segment/fence.go",
		"return n - 1, n > 0 && (n == len(f) || f[n] > order)", "return n - 1, n > 0",
		"db/segment.TestFixedEqualsMemory",
	},
	{
		"a name without an id is among the other entries of a fixed block", "db/segment/runwriter.go",
		"if fixed == nil && r.fixed.addOther(key, value) {", "if r.fixed.addOther(key, value) {",
		"db/segment.TestFixedEqualsMemory",
	},
	{
		"a fixed block takes an entry that overflows its page", "db/segment/fixedblock.go",
		"return w.size(w.n()+1, w.shared(fixed), wide) <= w.room",
		"return w.size(w.n()+1, w.shared(fixed), wide) <= w.room+64",
		"db/segment.TestFixedEqualsMemory",
	},
	{
		"a run in a file of format 2 does without its filter", "db/segment/segment.go",
		"r.hasFixed = kind.Fixed != nil && s.file.format >= formatFixed", "r.hasFixed = kind.Fixed != nil",
		"db/segment.TestFilterInMemory",
	},
	{
		"the sum of a prefix ends with its block", "db/segment/prefixsums.go",
		"if it.i == c.n && !last {", "if it.i == c.n && last {",
		"db/segment.TestTreeEqualsMap",
	},
	{
		"a range in memory ends where it looked ahead", "db/lsm/block.go",
		"return lo + sort.Search(n,", "return lo + 0*sort.Search(n,",
		"db/segment.TestTreeEqualsMap",
	},
	{
		"an account's count by source has what is out", "db/index/sourcesums.go",
		"if horizon := s.horizons.Of(source); oldest < horizon {", "if horizon := s.horizons.Of(source); oldest > horizon {",
		"db.TestKeepEqualsModel",
	},
	{
		"an account's count by source stays at a step of the horizon", "db/index/sourcesums.go",
		"if k.horizons.Of(source) != h.Of(source) {", "if k.horizons.Of(source) != h.Of(source) && false {",
		"db.TestKeepEqualsModel",
	},
	{
		"the newest log rows in memory miss a link", "db/logrow/read.go",
		"for n < len(rest) && isOf(&rest[n]) {", "for n+1 < len(rest) && isOf(&rest[n]) {",
		"db/index.TestLogTail",
	},
	{
		"the minutes of a segment deny what it holds", "db/segment/run.go",
		"return ok && !r.minutes.Contains(m)", "return ok && r.minutes.Contains(m)",
		"db/segment.TestTreeEqualsMap",
	},
	{
		"what a crash has left behind is not removed", "db/index/files.go",
		"if named[e.Name()] || !SegmentName.MatchString(e.Name()) {",
		"if named[e.Name()] || SegmentName.MatchString(e.Name()) {",
		"db.TestStrayFiles",
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
		"bodies from before a time without count", "db/bodies.go",
		"kept.Since = newest //", "kept.Since = since //",
		"db.TestBodiesModes",
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
		"a follower doesn't notice that the log has left it behind", "db/follower.go",
		"case !ok && oldest != v.Seq+1 && covered != v.Seq:", "case false:",
		"db.TestFollowerEqualsModel",
	},
	{
		"a follower doesn't notice that the log has gone back", "db/follower.go",
		"case max(newest, covered) < v.Seq:", "case false:",
		"db.TestCopyGoesBack",
	},
	{
		"a list comes to a segment after its newest link", "db/index/listscan.go",
		"inverted := ^rank", "inverted := ^rank + 1",
		"db.TestStoreEqualsModel",
	},
	{
		"a list in reverse comes to a segment after its oldest link", "db/index/listscan.go",
		"inverted++ // behind the keys of the rank", "",
		"db.TestStoreEqualsModel",
	},
	{
		"a feed passes over a segment by the rank of its last entry", "db/index/ranknotes.go",
		"n.newest = max(n.newest, p.Rank)", "n.newest = p.Rank",
		"db.TestCopyEqualsModel",
	},
	{
		"a list in reverse comes to a segment by the rank of its last entry", "db/index/ranknotes.go",
		"n.oldest = min(n.oldest, p.Rank)", "n.oldest = p.Rank",
		"db.TestStoreEqualsModel",
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
		"a copy keeps the pages of a change that broke off", "db/pagecopy/pagecopy.go",
		"	_ = t.tx.Rollback()", "	_ = t.tx.Commit()",
		"db.TestCopyEqualsModel",
	},
	{
		"a copy's position stays behind its pages", "db/pagecopy/pagecopy.go",
		"\"user_version\": int32(t.change.Position),", "",
		"db.TestCopyEqualsModel",
	},
	{
		"a copy keeps the low half of its position alone", "db/pagecopy/pagecopy.go",
		"\"application_id\": int32(t.change.Position >> 32)", "\"application_id\": 0",
		"db.TestCopyEqualsModel",
	},
	{
		"a copy is taken for an index of one's own", "db/store.go",
		"err == nil && at > 0 {", "err == nil && at > 0 && false {",
		"db.TestOpenRefusesCopy",
	},
	{
		"a link that is older than the first one is not the first", "db/index/firstmarks.go",
		"m.mark(older[mark.account])", "m.mark(mark)",
		"db.TestMarkedAccounts",
	},
	{
		"an account that has lost its first link has lost all", "db/index/firstmarks.go",
		"if m.repeaters.Contains(e.account) {\n\t\tm.unresolved", "if false {\n\t\tm.unresolved",
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
		"a count is that of the segments before a seal", "db/index/segmentsums.go",
		"if known.end == s.end {", "if true {",
		"db.TestSegmentSums",
	},
	{
		"a count adds the newest known segment twice", "db/index/segmentsums.go",
		"behind := 1 + slices", "behind := slices",
		"db.TestSegmentSums",
	},
	{
		"a count has what is out since the last one", "db/index/segmentsums.go",
		"if ok && known.horizon == s.horizon {", "if ok {",
		"db.TestSegmentSums",
	},
	{
		"a count of accounts has what is out", "db/index/segmentmembers.go",
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
		"a horizon goes back when rules change", "db/keep/retention.go",
		"us = max(us, r.sets[i].rules.list[rule].horizon(r.sets[i].Row))",
		"us = r.sets[i].rules.list[rule].horizon(r.sets[i].Row)",
		"db/keep.TestHorizonsNeverGoBack",
	},
	{
		"the horizon of rules with fit goes back", "db/retention.go",
		"fit_us = max(fit_us, excluded.fit_us)", "fit_us = excluded.fit_us",
		"db.TestFit",
	},
	{
		"rules with fit are asked for less than a compaction needs", "db/fit.go",
		"largest + largest/compactionSlack + r.reserve.Load()", "0*largest + r.reserve.Load()",
		"db.TestFit",
	},
	{
		"a compaction beyond the budget waits", "db/compact.go",
		"s.overBudget(keptBytes(out, v.Horizons)) || ", "",
		"db.TestFitCannot",
	},
	{
		"bodies of records that are out stay", "db/outfilter.go",
		"if seq := codec.BodyRef(value); seq > 0 {", "if seq := codec.BodyRef(value); false {",
		"db.TestKeepGivesSpaceBack",
	},
	{
		"a compaction takes all of a slow disk's time", "db/worker.go",
		"y.pacer.Rest(time.Since(y.begun))", "",
		"db.TestYieldingRests",
	},
	{
		"smaller compactions count as a transfer of the larger one", "db/worker.go",
		"\t\ty.begun = time.Now()\n", "\n",
		"db.TestYieldingRests",
	},
	{
		"a segment is written to the disk by its last sync", "db/segment/filewriter.go",
		"if err := w.writeback.Wrote(len(row)); err != nil {\n\t\treturn 0,",
		"if err := error(nil); err != nil {\n\t\treturn 0,",
		"db/segment.TestWriteback",
	},
	{
		"an upload takes all of a slow disk's time", "db/disk/pacer.go",
		"p.pacer.Rest(time.Since(begun))", "_ = begun",
		"db/disk.TestPacedReader",
	},
}
