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

// An index keeps each link in one spelling. When the rules change (link.Spelling), the store reads all records once
// while it indexes events, and rewrites the links that the new rules spell differently. Each rewritten record has a log
// row of op 10, so that replays, segments, replicas and followers receive it like any other change. Events that arrive
// meanwhile have the new spelling already.
const (
	metaSpelling      = "spelling"       // the rules by which all links are spelled
	metaSpellingAfter = "spelling_after" // rules, tab, the hexadecimal key of the last record spelled by them

	// respellBytes bounds the size of the records of one transaction without the last one, in bytes: a record may have
	// 1 MiB. A transaction has at most Config.JobRecords records.
	respellBytes = 4 << 20
	// respellScan is the largest number of records that are read between two transactions. Reading them takes about a
	// second. A restart repeats it.
	respellScan = 1 << 20
	// respellSay is the interval at which the progress of the rewrite is logged.
	respellSay = time.Minute
)

// spelling is the rewrite of an index from other rules.
type spelling struct {
	from string        // the earlier rules
	next []byte        // the key to continue from; nil: the first
	done chan struct{} // closed when all links are spelled by link.Spelling
}

// spellingStep is the progress of the rewrite that a transaction stores. The zero spellingStep is none.
type spellingStep struct {
	after []byte // the key of the last record that was read
	done  bool   // it was the last record
}

// write stores the progress of the rewrite.
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

// loadSpelling reads the rules by which the links are spelled, and the progress of a rewrite.
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
		return nil // a program with other rules began: start from the first record
	}
	key, err := hex.DecodeString(after)
	if err != nil {
		return fmt.Errorf("%s of %s: %w", metaSpellingAfter, after, err)
	}
	s.spelling.next = append(key, 0)
	return nil
}

// Respelling reports whether a rewrite of links to the present spelling is under way. Until it ends, links to one page
// may be counted under both spellings.
func (s *Store) Respelling() bool {
	select {
	case <-s.spelling.done:
		return false
	default:
		return true
	}
}

// respell rewrites the links of an index from other rules.
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
			return nil // the next start continues
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

// misspelled returns the keys of the next records that have a link of another spelling, and the number of records that
// it read. last is the last record read; nil: there are no more.
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

// respellAll rewrites records in one transaction, which also stores the progress.
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
