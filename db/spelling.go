package db

import (
	"bytes"
	"cmp"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/logrow"
	"weft.dev/weft/link"
)

// An index keeps each link in one spelling. When the rules change (link.Spelling), the store goes through all records
// once, beside the events, and rewrites the links that the new rules spell otherwise. Each rewritten record has a log
// row of op 10, so that replays, segments, replicas and followers get it like any other change. Events that come
// meanwhile have the new spelling already.
const (
	metaSpelling      = "spelling"       // the rules that all links are spelled by
	metaSpellingAfter = "spelling_after" // rules, tab, hex: the key of the last record that is spelled by these rules

	// respellBytes bounds what the records of one transaction hold, in bytes, but for the last: a record may have 1
	// MiB. It has Config.JobRecords at most.
	respellBytes = 4 << 20
	// respellScan is how many records are read between two transactions at most, about a second: what a restart
	// repeats.
	respellScan = 1 << 20
	// respellSay is how often the log says how far the rewriting is.
	respellSay = time.Minute
)

// spelling is the rewriting of an index that other rules made.
type spelling struct {
	from string        // the rules that made it
	next []byte        // the key to go on from; nil: the first
	done chan struct{} // closed when all links are spelled by link.Spelling
}

// spellingStep is what a transaction keeps of the rewriting. The zero spellingStep is none.
type spellingStep struct {
	after []byte // the key of the last record that was looked at
	done  bool   // it was the last of all
}

// write keeps how far the rewriting is.
func (st *spellingStep) write(tx *sql.Tx) error {
	if st.done {
		if _, err := tx.Exec("DELETE FROM meta WHERE key = ?", metaSpellingAfter); err != nil {
			return err
		}
		_, err := tx.Exec("UPDATE meta SET value = ? WHERE key = ?", link.Spelling, metaSpelling)
		return err
	}
	if st.after == nil {
		return nil
	}
	_, err := tx.Exec("INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = ?2",
		metaSpellingAfter,
		link.Spelling+"\t"+hex.EncodeToString(st.after))
	return err
}

// loadSpelling reads which rules the links are spelled by, and how far a rewriting has come.
func (s *Store) loadSpelling() error {
	s.spelling.done = make(chan struct{})
	if err := s.writer.QueryRow("SELECT value FROM meta WHERE key = ?",
		metaSpelling).Scan(&s.spelling.from); err != nil {
		return err
	}
	if s.spelling.from == link.Spelling {
		close(s.spelling.done)
		return nil
	}
	var at string
	err := s.writer.QueryRow("SELECT value FROM meta WHERE key = ?", metaSpellingAfter).Scan(&at)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	rules, after, _ := strings.Cut(at, "\t")
	if rules != link.Spelling {
		return nil // a program with third rules began: from the first record again
	}
	key, err := hex.DecodeString(after)
	if err != nil {
		return fmt.Errorf("%s of %s: %w", metaSpellingAfter, after, err)
	}
	s.spelling.next = append(key, 0)
	return nil
}

// Respelling reports whether links that an older program spelled otherwise are still being rewritten: until that ends,
// links to such a page are counted under both spellings.
func (s *Store) Respelling() bool {
	select {
	case <-s.spelling.done:
		return false
	default:
		return true
	}
}

// respell rewrites the links of an index that other rules made.
func (s *Store) respell() error {
	if !s.Respelling() {
		return nil
	}
	log := s.cfg.Logger
	log.Info("rewriting links that an older weft normalised differently, while indexing; until it ends, links to "+
		"such a page "+
		"are split over two targets", "from", s.spelling.from, "to", link.Spelling, "records", s.core.Snapshot().Linking,
		"resumed", s.spelling.next != nil)
	start := s.cfg.Now()
	said := start
	read := 0
	changed := 0
	for {
		keys, n, last, err := s.misspelled(s.spelling.next)
		if err != nil {
			return fmt.Errorf("db: find links of another spelling: %w", err)
		}
		if s.isClosed() {
			return nil
		}
		done := last == nil
		err = s.respellAll(keys, spellingStep{last, done})
		if errors.Is(err, ErrPaused) {
			return nil // the next start goes on
		}
		if err != nil {
			return fmt.Errorf("db: rewrite links of another spelling: %w", err)
		}
		if s.Failed() != nil {
			return nil // the fault is reported already
		}
		read += n
		changed += len(keys)
		if done {
			log.Info("rewrote all links to the current normalisation", "records", read, "rewritten", changed,
				"duration", s.cfg.Now().Sub(start).Round(time.Millisecond))
			close(s.spelling.done)
			return nil
		}
		s.spelling.next = append(last, 0)
		if now := s.cfg.Now(); now.Sub(said) >= respellSay {
			said = now
			log.Info("rewriting links that an older weft normalised differently", "records", read, "rewritten", changed)
		}
	}
}

// misspelled gives the keys of the next records that have a link of another spelling, and how many records it read.
// last is the last of them; nil: there are no more.
func (s *Store) misspelled(from []byte) (keys [][]byte, read int, last []byte, err error) {
	v := s.core.Acquire()
	defer s.core.Release(v)
	var links []codec.RecordLink
	var text []byte
	size := 0
	sc := v.Records.Scan(from, nil, false)
	for sc.Next() {
		read++
		if read%yieldEvery == 0 {
			if s.isClosed() {
				return nil, read, nil, nil
			}
			runtime.Gosched()
		}
		key := sc.Key()
		if bytes.IndexByte(sc.Value(), codec.TagText) >= 0 && !codec.IsRevisionKey(key) {
			_, _, rkey, err := codec.DecodeRecordKey(key)
			if err != nil {
				return nil, read, nil, fmt.Errorf("record key %x: %w", key, err)
			}
			links, err = codec.DecodeLinks(links[:0], sc.Value(), rkey)
			if err != nil {
				return nil, read, nil, fmt.Errorf("links of the record %x: %w", key, err)
			}
			if slices.ContainsFunc(links, func(l codec.RecordLink) bool { return isMisspelled(&text, l.Target) }) {
				keys = append(keys, bytes.Clone(key))
				size += len(sc.Value())
			}
		}
		if len(keys) == s.cfg.JobRecords || size >= respellBytes || read == respellScan {
			return keys, read, bytes.Clone(key), nil
		}
	}
	return keys, read, nil, sc.Err()
}

// isMisspelled reports whether an encoded target is a text that link.Append spells otherwise, or that is no link by its
// rules. buf is scratch.
func isMisspelled(buf *[]byte, target []byte) bool {
	if target[0] != codec.TagText {
		return false
	}
	text := target[1 : len(target)-1]
	*buf, _ = link.Append((*buf)[:0], text)
	return !bytes.Equal(*buf, text)
}

// respellAll rewrites records in one transaction, which keeps how far the rewriting is.
func (s *Store) respellAll(keys [][]byte, step spellingStep) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Failed() != nil {
		return nil
	}
	if err := s.awaitRoom(); err != nil {
		return err
	}
	if err := s.failpoint("respell"); err != nil {
		return err
	}
	f := s.newApplier(s.cfg.Now().UnixMicro())
	for _, key := range keys {
		f.respell(key)
	}
	return s.commit(f, progress{spelling: step})
}

// respell brings a record's links to the present spelling. Links that become one keep the older rank, which is the rank
// of a link that had the present spelling from the start.
func (f *applier) respell(key []byte) {
	before := f.d.record(key)
	actor, collection, rkey, err := codec.DecodeRecordKey(key)
	if err != nil {
		f.d.fail(fmt.Errorf("record key %x: %w", key, err))
		return
	}
	if f.state.status.of(actor) == StatusDeleted {
		return // a job is about to remove it
	}
	old := f.links(nil, before, rkey)
	next := make([]codec.RecordLink, 0, len(old))
	var text []byte
	for _, l := range old {
		if isMisspelled(&text, l.Target) {
			if len(text) == 0 {
				continue // no link by the present rules
			}
			l.Target = f.target(string(text))
		}
		next = append(next, l)
	}
	next = sortRanked(next)
	removed, added := diffRanked(old, next)
	if len(removed)+len(added) == 0 {
		return // an event has changed the record meanwhile
	}
	r := logrow.Row{Op: logrow.OpRewritten, Actor: actor, Collection: collection, Rkey: rkey, Rev: f.d.rev(actor)}
	body := codec.BodyRef(before)
	if len(next) == 0 {
		r.Replaced = f.state.bodies.current(before)
		body = 0
	}
	f.change(key, before, next, body, actor, rkey, removed, added)
	f.log(r, misspelledLast(removed, added), added)
}

// misspelledLast moves a removed link that no added one equals but for the rank to the end. A change of many links
// takes several log rows, the last removal comes with the last row, and a link must go before it comes again with
// another rank.
func misspelledLast(removed, added []codec.RecordLink) []codec.RecordLink {
	if len(removed)+len(added) <= logrow.MaxRowLinks {
		return removed
	}
	for i, l := range removed {
		if _, again := slices.BinarySearchFunc(added, l, codec.CompareLinks); !again {
			return append(slices.Delete(removed, i, i+1), l)
		}
	}
	return removed
}

func compareRanked(a, b codec.RecordLink) int {
	return cmp.Or(codec.CompareLinks(a, b), cmp.Compare(a.Rank, b.Rank))
}

// sortRanked orders links, and of the same link keeps the oldest.
func sortRanked(links []codec.RecordLink) []codec.RecordLink {
	slices.SortFunc(links, compareRanked)
	return slices.CompactFunc(links, func(a, b codec.RecordLink) bool { return codec.CompareLinks(a, b) == 0 })
}

// diffRanked gives the links that are in old alone and in next alone. A link of another rank is another link.
func diffRanked(old, next []codec.RecordLink) (removed, added []codec.RecordLink) {
	without := func(from, what []codec.RecordLink) (left []codec.RecordLink) {
		for _, l := range from {
			if _, ok := slices.BinarySearchFunc(what, l, compareRanked); !ok {
				left = append(left, l)
			}
		}
		return left
	}
	return without(old, next), without(next, old)
}
