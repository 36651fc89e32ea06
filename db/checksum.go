package db

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cespare/xxhash/v2"
)

// Each row of the log, each link row and each name has a checksum that is bound to its place. The sum of the checksums
// of all rows up to one, modulo 2^64, is kept as of each commit, so that the rows between any two places at which the
// sum is known can be held against what was written. A sum, and not a hash of hashes: the parts of it can be computed
// in any order, and what a segment covers needs not be read to go on from there.

// checksums are the sums over the log and over the names as of a log row.
type checksums struct {
	log, names uint64
	status     uint64 // over the accounts that are not active, as of the last commit; a follower doesn't go on with it
	known      bool   // false: an older weft wrote what they would be of
}

// The names of the sums in sqlite_sequence, which says why they lie there: migrations/00006_checksums.sql.
const (
	logChecksum    = "log_checksum"
	namesChecksum  = "names_checksum"
	statusChecksum = "status_checksum"
)

// The tables of the rows that have a checksum, which is bound to them.
const (
	sumOfRow    = 'r'
	sumOfLink   = 'l'
	sumOfStatus = 'a'
)

// checksum is that of a row of the log, without its links.
func (r *row) checksum() uint64 {
	var buf [96]byte
	b := append(buf[:0], sumOfRow, byte(r.op), r.statusColumn())
	for _, v := range [...]uint64{r.seq, uint64(r.timeUS), r.actor, r.collection, r.rev} {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return xxhash.Sum64(append(b, r.rkey...))
}

// checksum is that of a link row.
func (l *linkRow) checksum() uint64 {
	var buf [96]byte
	b := append(buf[:0], sumOfLink, l.op)
	for _, v := range [...]uint64{l.id, l.source, uint64(l.rank)} {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return xxhash.Sum64(append(b, l.target...))
}

// nameSum is the checksum of a name; kind is as applier.intern has it.
func nameSum(kind byte, id, collection uint64, name string) uint64 {
	var buf [96]byte
	b := append(buf[:0], kind)
	b = binary.LittleEndian.AppendUint64(b, id)
	b = binary.LittleEndian.AppendUint64(b, collection)
	return xxhash.Sum64(append(b, name...))
}

// checksum is that of an account's status; 0: it is active.
func (r *statusRow) checksum() uint64 {
	if r.status == StatusActive {
		return 0
	}
	b := append(make([]byte, 0, 18), sumOfStatus, byte(r.status))
	b = binary.LittleEndian.AppendUint64(b, r.actor)
	return xxhash.Sum64(binary.LittleEndian.AppendUint64(b, uint64(r.sinceUS)))
}

// changeStatus puts the last status of each account in the place of the one that it has before the transaction writes
// it.
func (c *checksums) changeStatus(tx *sql.Tx, changes []statusRow) error {
	last := map[uint64]statusRow{}
	for _, s := range changes {
		last[s.actor] = s
	}
	for actor, s := range last {
		was := statusRow{actor: actor}
		err := tx.QueryRow("SELECT status, ifnull(since_us, 0) FROM actors WHERE id = ?",
			int64(actor)).Scan(&was.status,
			&was.sinceUS)
		if err != nil && !errors.Is(err, sql.ErrNoRows) { // an account that is new in this batch may have no row yet
			return fmt.Errorf("read the status of account %d: %w", actor, err)
		}
		c.status += s.checksum() - was.checksum()
	}
	return nil
}

// add adds rows that are appended.
func (c *checksums) add(rs *rows) {
	for i := range rs.names {
		n := &rs.names[i]
		c.names += nameSum(n.kind, n.id, n.collection, n.name)
	}
	for i := range rs.log {
		c.log += rs.log[i].checksum()
	}
	for i := range rs.links {
		c.log += rs.links[i].checksum()
	}
}

// write writes the sums as of a commit into its transaction, where they differ from those before.
func (c checksums) write(tx *sql.Tx, before checksums) error {
	for _, sum := range []struct {
		name     string
		was, now uint64
	}{{logChecksum, before.log, c.log}, {namesChecksum, before.names, c.names}, {statusChecksum, before.status,
		c.status}} {
		if sum.was == sum.now {
			continue
		}
		if _, err := tx.Exec("UPDATE sqlite_sequence SET seq = ? WHERE name = ?", int64(sum.now),
			sum.name); err != nil {
			return fmt.Errorf("write %s: %w", sum.name, err)
		}
	}
	return nil
}

// storedChecksums reads the sums as of the last commit.
func storedChecksums(ctx context.Context, q queryer) (c checksums, err error) {
	var log, names, status int64
	err = q.QueryRowContext(ctx, `SELECT l.seq, n.seq, s.seq FROM sqlite_sequence AS l, sqlite_sequence AS n, sqlite_sequence AS s
		WHERE l.name = ? AND n.name = ? AND s.name = ?`, logChecksum, namesChecksum, statusChecksum).Scan(&log, &names, &status)
	if errors.Is(err, sql.ErrNoRows) {
		return checksums{}, nil
	}
	if err != nil {
		return checksums{}, fmt.Errorf("read the checksums: %w", err)
	}
	return checksums{uint64(log), uint64(names), uint64(status), true}, nil
}

// checksums are the sums as of a segment's newest row.
func (r *manifestRow) checksums() checksums {
	if r.LogChecksum == nil || r.NamesChecksum == nil {
		return checksums{}
	}
	return checksums{log: uint64(*r.LogChecksum), names: uint64(*r.NamesChecksum), known: true}
}

// setChecksums is the reverse of checksums.
func (r *manifestRow) setChecksums(c checksums) {
	r.LogChecksum = nil
	r.NamesChecksum = nil
	if c.known {
		log := int64(c.log)
		names := int64(c.names)
		r.LogChecksum = &log
		r.NamesChecksum = &names
	}
}

// logText and namesText are the sums as a segment's head has them.
func (c checksums) logText() string   { return fmt.Sprintf("%016x", c.log) }
func (c checksums) namesText() string { return fmt.Sprintf("%016x", c.names) }

// summer adds up rows that are there, in bounded memory.
type summer struct {
	q        queryer
	progress func(rows int64) // is given how many rows have been read, now and then; nil: no call
	rows     int64
}

// log is the sum over the log rows behind one and up to another, and their links.
func (s *summer) log(ctx context.Context, after, upTo uint64) (sum uint64, err error) {
	// The links of a row end where those of the next one begin: their numbers may run on over those of rows that are
	// not.
	var first, next, last int64
	if err := s.q.QueryRowContext(ctx, `SELECT ifnull((SELECT seq FROM records WHERE seq > ?1 ORDER BY seq LIMIT 1), 0),
		ifnull((SELECT seq FROM records WHERE seq > ?2 ORDER BY seq LIMIT 1), 0), ifnull((SELECT max(id) FROM links), 0)`,
		int64(after), int64(upTo)).Scan(&first, &next, &last); err != nil {
		return 0, err
	}
	if first == 0 || uint64(first) > upTo {
		return 0, nil
	}
	if next != 0 {
		last = min(last, next<<linkShift-1)
	}
	rows, err := s.add(ctx, sumLogRows, first, int64(upTo), sumSpan)
	if err != nil {
		return 0, err
	}
	links, err := s.add(ctx, sumLinks, first<<linkShift, last, sumSpan<<linkShift)
	return rows + links, err
}

// status is the sum over the accounts that are not active. It reads the rows, and not the index that has them.
func (s *summer) status(ctx context.Context) (sum uint64, err error) {
	ids, err := newestNames(ctx, s.q)
	if err != nil {
		return 0, err
	}
	return s.add(ctx, sumStatus, 1, int64(ids.actors), sumSpan)
}

// nameBounds is the newest id of each kind of name.
type nameBounds struct{ actors, collections, sources uint64 }

// newestNames reads the newest ids.
func newestNames(ctx context.Context, q queryer) (ids nameBounds, err error) {
	err = q.QueryRowContext(ctx, `SELECT ifnull((SELECT max(id) FROM actors), 0), ifnull((SELECT max(id) FROM collections), 0),
		ifnull((SELECT max(id) FROM sources), 0)`).Scan(&ids.actors, &ids.collections, &ids.sources)
	return ids, err
}

func (r *manifestRow) names() nameBounds { return nameBounds{r.Actors, r.Collections, r.Sources} }

// names is the sum over the names behind some ids and up to others.
func (s *summer) names(ctx context.Context, after, upTo nameBounds) (sum uint64, err error) {
	for _, k := range []struct {
		query       sumQuery
		after, upTo uint64
	}{
		{sumActors, after.actors, upTo.actors},
		{sumNSIDs, after.collections, upTo.collections},
		{sumPaths, after.sources, upTo.sources},
	} {
		part, err := s.add(ctx, k.query, int64(k.after)+1, int64(k.upTo), sumSpan)
		if err != nil {
			return 0, err
		}
		sum += part
	}
	return sum, nil
}
