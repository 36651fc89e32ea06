package logrow

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cespare/xxhash/v2"
)

// Each log row, each link row and each name has a checksum that includes its id. Each commit stores the sum of the
// checksums of all rows so far, modulo 2^64. So weft can verify the rows between any two places with a stored sum. It
// is a sum and not a hash of hashes, because the parts of a sum can be computed in any order, and because a replay
// continues from the sum that a segment stores without reading the rows that the segment covers.

// Checksums are the sums of the checksums of the log and of the names up to a log row.
type Checksums struct {
	Log, Names uint64
	Status     uint64 // of the accounts that are not active, as of the last commit; a follower doesn't maintain it
	Known      bool   // false: an older weft wrote the rows and stored no checksums
}

// The names of the sums in the table sqlite_sequence. migrations/00006_checksums.sql says why they are stored there.
const (
	LogChecksum    = "log_checksum"
	NamesChecksum  = "names_checksum"
	StatusChecksum = "status_checksum"
)

// The first byte of a checksummed row names its table.
const (
	sumOfRow    = 'r'
	sumOfLink   = 'l'
	sumOfStatus = 'a'
)

// checksum returns the checksum of a log row without its links.
func (r *Row) checksum() uint64 {
	var buf [96]byte
	b := append(buf[:0], sumOfRow, byte(r.Op), r.StatusColumn())
	for _, v := range [...]uint64{r.Seq, uint64(r.TimeUS), r.Actor, r.Collection, r.Rev} {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return xxhash.Sum64(append(b, r.Rkey...))
}

// checksum returns the checksum of a link row.
func (l *LinkRow) checksum() uint64 {
	var buf [96]byte
	b := append(buf[:0], sumOfLink, l.Op)
	for _, v := range [...]uint64{l.ID, l.Source, uint64(l.Rank)} {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return xxhash.Sum64(append(b, l.Target...))
}

// NameSum returns the checksum of a name. kind is a kind of name, such as codec.KindDID.
func NameSum(kind byte, id, collection uint64, name string) uint64 {
	var buf [96]byte
	b := append(buf[:0], kind)
	b = binary.LittleEndian.AppendUint64(b, id)
	b = binary.LittleEndian.AppendUint64(b, collection)
	return xxhash.Sum64(append(b, name...))
}

// Checksum returns the checksum of an account's status; 0 for an active account.
func (r *StatusRow) Checksum() uint64 {
	if r.Status == StatusActive {
		return 0
	}
	b := append(make([]byte, 0, 18), sumOfStatus, byte(r.Status))
	b = binary.LittleEndian.AppendUint64(b, r.Actor)
	return xxhash.Sum64(binary.LittleEndian.AppendUint64(b, uint64(r.SinceUS)))
}

// ChangeStatus replaces the stored status of each account by its last status in changes. It must run before the
// transaction writes the changes.
func (c *Checksums) ChangeStatus(tx *sql.Tx, changes []StatusRow) error {
	last := map[uint64]StatusRow{}
	for _, s := range changes {
		last[s.Actor] = s
	}
	for actor, s := range last {
		was := StatusRow{Actor: actor}
		err := tx.QueryRow("SELECT status, ifnull(since_us, 0) FROM actors WHERE id = ?",
			int64(actor)).Scan(&was.Status,
			&was.SinceUS)
		if err != nil && !errors.Is(err, sql.ErrNoRows) { // an account that is new in this batch may have no row yet
			return fmt.Errorf("read the status of account %d: %w", actor, err)
		}
		c.Status += s.Checksum() - was.Checksum()
	}
	return nil
}

// Add adds rows that are appended.
func (c *Checksums) Add(names []NameRow, log []Row, links []LinkRow) {
	for i := range names {
		n := &names[i]
		c.Names += NameSum(n.Kind, n.ID, n.Collection, n.Name)
	}
	for i := range log {
		c.Log += log[i].checksum()
	}
	for i := range links {
		c.Log += links[i].checksum()
	}
}

// UpdateChecksum is the statement of Checksums.Write.
const UpdateChecksum = "UPDATE sqlite_sequence SET seq = ? WHERE name = ?"

// Write writes the sums that differ from before. update is UpdateChecksum in the transaction of a commit.
func (c Checksums) Write(update *sql.Stmt, before Checksums) error {
	for _, sum := range []struct {
		name     string
		was, now uint64
	}{{LogChecksum, before.Log, c.Log}, {NamesChecksum, before.Names, c.Names}, {StatusChecksum, before.Status,
		c.Status}} {
		if sum.was == sum.now {
			continue
		}
		if _, err := update.Exec(int64(sum.now), sum.name); err != nil {
			return fmt.Errorf("write %s: %w", sum.name, err)
		}
	}
	return nil
}

// StoredChecksums reads the sums as of the last commit.
func StoredChecksums(ctx context.Context, q Queryer) (c Checksums, err error) {
	var log, names, status int64
	err = q.QueryRowContext(ctx,
		`SELECT l.seq, n.seq, s.seq FROM sqlite_sequence AS l, sqlite_sequence AS n, sqlite_sequence AS s
		WHERE l.name = ? AND n.name = ? AND s.name = ?`,
		LogChecksum, NamesChecksum, StatusChecksum).Scan(&log, &names, &status)
	if errors.Is(err, sql.ErrNoRows) {
		return Checksums{}, nil
	}
	if err != nil {
		return Checksums{}, fmt.Errorf("read the checksums: %w", err)
	}
	return Checksums{uint64(log), uint64(names), uint64(status), true}, nil
}

// LogText and NamesText return the sums as text for the head of a segment.
func (c Checksums) LogText() string   { return fmt.Sprintf("%016x", c.Log) }
func (c Checksums) NamesText() string { return fmt.Sprintf("%016x", c.Names) }

// Adder adds up the checksums of stored rows in bounded memory.
type Adder struct {
	Q        Queryer
	Progress func(rows int64) // called now and then with the number of rows read; nil: no call
	Rows     int64
}

// Log returns the sum of the log rows with after < seq <= upTo and of their links.
func (s *Adder) Log(ctx context.Context, after, upTo uint64) (sum uint64, err error) {
	err = Scan(ctx, s.Q, after, upTo, func(rows Rows) error {
		for i := range rows.Log {
			sum += rows.Log[i].checksum()
		}
		for i := range rows.Links {
			sum += rows.Links[i].checksum()
		}
		s.count(int64(len(rows.Log) + len(rows.Links)))
		return nil
	})
	return sum, err
}

// count adds to the number of rows read, and reports it each time that sumSpan more are.
func (s *Adder) count(rows int64) {
	before := s.Rows / sumSpan
	s.Rows += rows
	if s.Progress != nil && s.Rows/sumSpan > before {
		s.Progress(s.Rows)
	}
}

// Status returns the sum of the accounts that are not active. It scans the table: a damaged index must not hide a row.
func (s *Adder) Status(ctx context.Context) (sum uint64, err error) {
	ids, err := NewestNames(ctx, s.Q)
	if err != nil {
		return 0, err
	}
	return s.add(ctx, sumStatus, 1, int64(ids.Actors))
}

// NameBounds is the newest id of each kind of name.
type NameBounds struct{ Actors, Collections, Sources uint64 }

// NewestNames reads the newest ids.
func NewestNames(ctx context.Context, q Queryer) (ids NameBounds, err error) {
	err = q.QueryRowContext(ctx,
		`SELECT ifnull((SELECT max(id) FROM actors), 0), ifnull((SELECT max(id) FROM collections), 0),
		ifnull((SELECT max(id) FROM sources), 0)`).Scan(&ids.Actors, &ids.Collections, &ids.Sources)
	return ids, err
}

// Names returns the sum of the names with ids above after, up to upTo.
func (s *Adder) Names(ctx context.Context, after, upTo NameBounds) (sum uint64, err error) {
	for _, k := range []struct {
		query       sumQuery
		after, upTo uint64
	}{
		{sumActors, after.Actors, upTo.Actors},
		{sumNSIDs, after.Collections, upTo.Collections},
		{sumPaths, after.Sources, upTo.Sources},
	} {
		part, err := s.add(ctx, k.query, int64(k.after)+1, int64(k.upTo))
		if err != nil {
			return 0, err
		}
		sum += part
	}
	return sum, nil
}
