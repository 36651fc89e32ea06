package db

import (
	"bytes"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/codec"
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
			if slices.ContainsFunc(links, func(l codec.RecordLink) bool { return apply.IsMisspelled(&text, l.Target) }) {
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
	f := s.newPart(apply.Origin{TimeUS: s.cfg.Now().UnixMicro()})
	for _, key := range keys {
		f.Respell(key)
	}
	return s.commit(f, progress{spelling: step})
}
