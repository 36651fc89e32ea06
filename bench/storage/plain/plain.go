// Package plain is the benchmark's own yardstick: backlinks in plain SQLite tables, as anyone would first build them. It
// lives here, and not in db, because weft doesn't use it.
//
// It is given every favour: its pragmas are weft's, with a page cache of 64 MB on top, the ids of accounts and sources
// are kept in memory, and it skips events about accounts and syncs, which weft's store follows.
package plain

import (
	"database/sql"
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"weft.dev/weft/db"
)

//go:embed schema.sql
var schema string

// walLimit is the size of the WAL at which it is checkpointed, as in weft.
const walLimit = 16 << 20

// Store is the plain schema in a database.
type Store struct {
	db      *sql.DB
	path    string
	ids     map[string]int64 // of accounts, collections and sources
	next    int64
	written int64 // to the WAL
	wal     int64 // its size after the last commit
	stmts   statements
}

type statements struct {
	actor, source, addTarget, findTarget, addLink, removeLink, count, record, putRecord, dropRecord, upstream *sql.Stmt
}

// Open makes the database in a directory.
func Open(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("plain: %w", err)
	}
	s := &Store{path: filepath.Join(dir, "plain.db"), ids: map[string]int64{}}
	var err error
	s.db, err = sql.Open("sqlite", "file:"+s.path+"?_txlock=immediate&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)"+
		"&_pragma=wal_autocheckpoint(0)&_pragma=temp_store(MEMORY)&_pragma=cache_size(-64000)")
	if err != nil {
		return nil, fmt.Errorf("plain: %w", err)
	}
	s.db.SetMaxOpenConns(1)
	if _, err := s.db.Exec(schema); err != nil {
		return nil, errors.Join(fmt.Errorf("plain: %w", err), s.db.Close())
	}
	if err := s.prepare(); err != nil {
		return nil, errors.Join(fmt.Errorf("plain: %w", err), s.db.Close())
	}
	return s, nil
}

func (s *Store) prepare() (err error) {
	for _, p := range []struct {
		stmt **sql.Stmt
		text string
	}{
		{&s.stmts.actor, "INSERT INTO actors (id, did) VALUES (?, ?)"},
		{&s.stmts.source, "INSERT INTO sources (id, collection, path) VALUES (?, ?, ?)"},
		{&s.stmts.addTarget, "INSERT INTO targets (uri) VALUES (?)"},
		{&s.stmts.findTarget, "SELECT id FROM targets WHERE uri = ?"},
		{&s.stmts.addLink, "INSERT OR IGNORE INTO links (target, source, rkey, actor) VALUES (?, ?, ?, ?)"},
		{&s.stmts.removeLink, "DELETE FROM links WHERE target = ? AND source = ? AND rkey = ? AND actor = ?"},
		{&s.stmts.count, "INSERT INTO counters (target, source, links) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET links = links + excluded.links"},
		{&s.stmts.record, "SELECT links FROM records WHERE actor = ? AND collection = ? AND rkey = ?"},
		{&s.stmts.putRecord, "INSERT OR REPLACE INTO records (actor, collection, rkey, links) VALUES (?, ?, ?, ?)"},
		{&s.stmts.dropRecord, "DELETE FROM records WHERE actor = ? AND collection = ? AND rkey = ?"},
		{&s.stmts.upstream, "INSERT OR REPLACE INTO upstream (host, seq) VALUES ('bench', ?)"},
	} {
		if *p.stmt, err = s.db.Prepare(p.text); err != nil {
			return err
		}
	}
	return nil
}

// WALBytes is what was written to the WAL, in bytes.
func (s *Store) WALBytes() int64 { return s.written }

// Close closes the database.
func (s *Store) Close() error { return s.db.Close() }

// Apply commits a batch and checkpoints when the WAL is large. It returns how many links were added.
func (s *Store) Apply(events []db.Event) (added int, err error) {
	tx, err := s.db.Begin()
	if err != nil {
		return 0, fmt.Errorf("plain: %w", err)
	}
	defer func() { _ = tx.Rollback() }()
	b := batch{s: s, tx: tx}
	for i := range events {
		if err := b.event(&events[i]); err != nil {
			return 0, fmt.Errorf("plain: event %d: %w", events[i].Seq, err)
		}
	}
	if _, err := tx.Stmt(s.stmts.upstream).Exec(int64(events[len(events)-1].Seq)); err != nil {
		return 0, fmt.Errorf("plain: %w", err)
	}
	if err := tx.Commit(); err != nil {
		return 0, fmt.Errorf("plain: %w", err)
	}
	return b.added, s.checkpoint()
}

func (s *Store) checkpoint() error {
	info, err := os.Stat(s.path + "-wal")
	if err != nil {
		return fmt.Errorf("plain: %w", err)
	}
	s.written += max(info.Size()-s.wal, 0)
	if s.wal = info.Size(); s.wal < walLimit {
		return nil
	}
	if _, err := s.db.Exec("PRAGMA wal_checkpoint(TRUNCATE)"); err != nil {
		return fmt.Errorf("plain: checkpoint: %w", err)
	}
	s.wal = 0
	return nil
}

// batch is a transaction under way.
type batch struct {
	s     *Store
	tx    *sql.Tx
	added int
}

// link is a link of a record as the tables know it.
type link struct{ source, target int64 }

func (b *batch) event(e *db.Event) error {
	if e.Op != db.OpCreate && e.Op != db.OpUpdate && e.Op != db.OpDelete {
		return nil
	}
	actor, err := b.id("d"+e.DID, b.s.stmts.actor, e.DID)
	if err != nil {
		return err
	}
	collection, err := b.id("s"+e.Collection+":", b.s.stmts.source, e.Collection, "")
	if err != nil {
		return err
	}
	old, err := b.record(actor, collection, e.Rkey)
	if err != nil {
		return err
	}
	var next []link
	for _, l := range e.Links {
		source, err := b.id("s"+e.Collection+":"+l.Path, b.s.stmts.source, e.Collection, l.Path)
		if err != nil {
			return err
		}
		target, err := b.target(l.Target)
		if err != nil {
			return err
		}
		if l := (link{source, target}); !slices.Contains(next, l) {
			next = append(next, l)
		}
	}
	for _, l := range old {
		if !slices.Contains(next, l) {
			if err := b.change(b.s.stmts.removeLink, l, actor, e.Rkey, -1); err != nil {
				return err
			}
		}
	}
	for _, l := range next {
		if !slices.Contains(old, l) {
			b.added++
			if err := b.change(b.s.stmts.addLink, l, actor, e.Rkey, 1); err != nil {
				return err
			}
		}
	}
	switch {
	case slices.Equal(old, next):
	case len(next) == 0:
		_, err = b.tx.Stmt(b.s.stmts.dropRecord).Exec(actor, collection, e.Rkey)
	default:
		var value []byte
		for _, l := range next {
			value = binary.AppendVarint(binary.AppendVarint(value, l.source), l.target)
		}
		_, err = b.tx.Stmt(b.s.stmts.putRecord).Exec(actor, collection, e.Rkey, value)
	}
	return err
}

func (b *batch) change(stmt *sql.Stmt, l link, actor int64, rkey string, by int) error {
	if _, err := b.tx.Stmt(stmt).Exec(l.target, l.source, rkey, actor); err != nil {
		return err
	}
	_, err := b.tx.Stmt(b.s.stmts.count).Exec(l.target, l.source, by)
	return err
}

// record is the links that a record has now.
func (b *batch) record(actor, collection int64, rkey string) (links []link, err error) {
	var value []byte
	err = b.tx.Stmt(b.s.stmts.record).QueryRow(actor, collection, rkey).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	for len(value) > 0 {
		source, n := binary.Varint(value)
		target, m := binary.Varint(value[n:])
		links, value = append(links, link{source, target}), value[n+m:]
	}
	return links, err
}

// id is the id of a name that is kept in memory; args are its columns for the insert.
func (b *batch) id(name string, insert *sql.Stmt, args ...any) (int64, error) {
	if id, ok := b.s.ids[name]; ok {
		return id, nil
	}
	b.s.next++
	b.s.ids[name] = b.s.next
	_, err := b.tx.Stmt(insert).Exec(append([]any{b.s.next}, args...)...)
	return b.s.next, err
}

// target is the id of a target, by a look-up on disk: there are too many for memory.
func (b *batch) target(uri string) (id int64, err error) {
	err = b.tx.Stmt(b.s.stmts.findTarget).QueryRow(uri).Scan(&id)
	if !errors.Is(err, sql.ErrNoRows) {
		return id, err
	}
	res, err := b.tx.Stmt(b.s.stmts.addTarget).Exec(uri)
	if err != nil {
		return 0, err
	}
	return res.LastInsertId()
}
