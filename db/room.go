package db

import (
	"errors"
	"fmt"
	"iter"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"weft.dev/weft/db/apply"
	"weft.dev/weft/db/checkpoint"
	"weft.dev/weft/db/segment"
)

// A disk that is full can't even be opened for reading, so indexing pauses before: Apply, Fill, jobs and the rewriting
// of links wait, and resume by themselves when there is room. Meanwhile compactions and seals that have begun end,
// checkpoints move the WAL, and a restart has what it needs.

// ErrPaused is the error of Apply and Fill when the store closes, or Hurry is called, while indexing is paused. What
// they have committed before is whole; the upstream still has the rest.
var ErrPaused = errors.New("indexing is paused for lack of disk space")

const (
	// lookEvery is how often the free space is read without batches.
	lookEvery = time.Second
	// reserveParts is the reserve for commits: the WAL of the largest part of a batch, and as much that its checkpoint
	// appends to weft.db.
	reserveParts = 2 * apply.CommitBytes
	// reserveSeals is the reserve for seals, in units of SealBytes: two seals' worth of runs gather in memory beside the
	// one that is being written, and a start after a crash seals the same rows. A segment takes less than half of the
	// memory of its runs, so a third is left for what other programs write between two looks.
	reserveSeals = 4
	// resumeAbove divides the reserve: indexing resumes when so much more than the reserve is free, 8 MB by default, and
	// does not pause again with the next batch.
	resumeAbove = 16
	// fullLeast and fullMost are the percentages of a full disk at which the log warns. Between them and a full disk lie
	// days, mostly; an operator has time.
	fullLeast = 80
	fullMost  = 90
	// fullSlack is how many percent the disk must be emptier before the log warns of the same percentage again.
	fullSlack = 2
)

// room is the free space of the data directory's disk or budget, as of the last look.
type room struct {
	free, total atomic.Int64 // bytes; 0 and 0: not known
	ofBudget    atomic.Bool  // they are those of the budget, which has less room than the disk
	budget      atomic.Int64 // bytes; 0: none, or not known
	cannotFit   atomic.Bool  // rules with fit can give back no more, and it is not enough
	reserve     atomic.Int64 // bytes that stay free
	paused      atomic.Bool  // indexing waits for room
	growing     atomic.Pointer[growingFile]

	warned int   // percentage of the last warning; 0: none; on Store.mu
	wanted int64 // free bytes beyond the reserve that a compaction waits for; 0: none waits; on Store.mu
}

// growingFile is a segment that a compaction writes.
type growingFile struct {
	path  string
	most  int64        // bytes that it takes at most
	outer *growingFile // of the larger compaction that waits for it; nil: none
}

// all returns the file, and those of the larger compactions that wait for it.
func (g *growingFile) all() iter.Seq[*growingFile] {
	return func(yield func(*growingFile) bool) {
		for ; g != nil && yield(g); g = g.outer {
		}
	}
}

// left returns how many bytes the file may still grow by.
func (g *growingFile) left() int64 {
	info, err := os.Stat(segment.TempPath(g.path))
	if err == nil {
		return max(g.most-info.Size(), 0)
	}
	_, err = os.Stat(g.path)
	if err == nil { // it is whole, and has its name
		return 0
	}
	return g.most
}

// reserved returns the bytes that must stay free now. The caller holds mu.
func (s *Store) reserved() int64 {
	n := reserveParts + reserveSeals*int64(s.cfg.SealBytes) + int64(s.wal.frames-s.wal.moved)*checkpoint.PageBytes
	for g := range s.room.growing.Load().all() {
		n += g.left()
	}
	return n
}

// lookAtDisk reads the free space, and pauses or resumes indexing. The caller holds mu.
func (s *Store) lookAtDisk() {
	room, err := s.diskRoom()
	if err != nil || room.total <= 0 {
		return // without a figure nothing pauses, and nothing resumes: a write meets the fault itself
	}
	r := &s.room
	reserve := s.reserved()
	free := room.free
	r.free.Store(free)
	r.total.Store(room.total)
	r.ofBudget.Store(room.ofBudget)
	r.reserve.Store(reserve)
	if s.Failed() != nil { // only a restart resumes indexing
		r.paused.Store(false)
		s.sealed.Broadcast()
		return
	}
	switch paused := r.paused.Load(); {
	case !paused && free < reserve:
		r.paused.Store(true)
		s.cfg.Logger.Warn("indexing paused: there is almost no disk space left; queries and streams go on", "free_bytes",
			free, "reserve_bytes", reserve, "do", s.makeRoom()+": indexing resumes by itself when there is room")
	case paused && free >= reserve+reserve/resumeAbove:
		r.paused.Store(false)
		s.cfg.Logger.Info("indexing resumed: there is disk space again", "free_bytes", free, "reserve_bytes", reserve)
		wake(s.jobWork)
	}
	s.warnOfFullDisk()
	if r.wanted > 0 && free-reserve >= r.wanted {
		wake(s.compactWork)
	}
	s.sealed.Broadcast() // wakes those who wait for room, also after a fault
}

// warnOfFullDisk logs that the disk is 80 or 90 % full, once until it is emptier again.
func (s *Store) warnOfFullDisk() {
	r := &s.room
	if s.fits() {
		return
	}
	full := r.fullPercent()
	due := 0
	for _, percent := range []int{fullLeast, fullMost} {
		if full >= percent {
			due = percent
		}
	}
	switch {
	case due > r.warned:
		r.warned = due
		attrs := []any{"full_percent", full, "free_bytes", r.free.Load()}
		if at := s.growth.FullAt(s.cfg.Now(), r.free.Load()-r.reserve.Load()); !at.IsZero() {
			attrs = append(attrs, "full_at", at.UTC().Format(time.RFC3339))
		}
		s.cfg.Logger.Warn("the disk is filling up; indexing pauses before it is full", append(attrs, "do", s.makeRoom())...)
	case full+fullSlack < r.warned:
		r.warned = due
	}
}

// fullPercent returns how full the disk is, in whole percent; 0: not known.
func (r *room) fullPercent() int {
	total := r.total.Load()
	if total == 0 {
		return 0
	}
	return int(100 * float64(total-r.free.Load()) / float64(total))
}

// watchDisk looks at the disk for times without batches.
func (s *Store) watchDisk() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.Failed() == nil {
		err := s.readWAL() // another program's checkpoints count: without commits nothing else looks
		if err != nil {
			s.cfg.Logger.Warn("cannot look at the WAL", "err", err)
		}
	}
	s.lookAtDisk()
}

// awaitRoom waits while indexing is paused. It releases mu meanwhile: whatever the caller knew may have changed. Its
// error is ErrPaused, or the fault that stopped writing.
func (s *Store) awaitRoom() error {
	s.lookAtDisk()
	for s.room.paused.Load() {
		if err := s.Failed(); err != nil {
			return err
		}
		if s.hurry {
			return ErrPaused
		}
		s.sealed.Wait()
	}
	return nil
}

// compactionSlack divides the size of a compaction: so much more than it writes must be free. What is left of the file
// counts as reserve, and without slack the next commit would pause indexing. A compaction writes some MB a second, and
// the live stream of the whole network a hundred times less.
const compactionSlack = 8

// missingRoom looks at the disk, and returns how many bytes must be free to compact files of so many bytes; 0: they
// are. The caller holds mu.
func (s *Store) missingRoom(bytes int64) (wanted int64) {
	s.lookAtDisk()
	r := &s.room
	wanted = bytes + bytes/compactionSlack + r.reserve.Load()
	if r.total.Load() == 0 || r.free.Load() >= wanted {
		return 0
	}
	return wanted
}

// compactionRoom returns an error where there is no room for a full compaction. It adds the files up again: a
// compaction may just have removed some, and an operator acts on the error.
func (s *Store) compactionRoom(bytes int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.use.Forget()
	wanted := s.missingRoom(bytes)
	if wanted == 0 {
		return nil
	}
	return fmt.Errorf("the compaction needs %s of free disk, and %s are free: %s, and ask for it again", diskBytes(wanted),
		diskBytes(s.room.free.Load()), s.makeRoom())
}

// hasCompactionRoom reports whether there is room to compact files into so many bytes. Where there is none, it says so
// in the log output, and compaction is tried again when there is. The caller holds mu.
func (s *Store) hasCompactionRoom(bytes int64) bool {
	const what = "compaction, for lack of disk space"
	r := &s.room
	r.wanted = 0
	wanted := s.missingRoom(bytes)
	if wanted == 0 {
		s.troubles.end(what)
		return true
	}
	r.wanted = wanted - r.reserve.Load()
	if s.troubles.begin(what, fmt.Sprintf("a compaction waits for %s of free disk; %s are free", diskBytes(wanted),
		diskBytes(r.free.Load()))) {
		s.cfg.Logger.Warn("compaction waits for free disk space; until it runs, queries read more files",
			"wanted_bytes", wanted, "free_bytes", r.free.Load(), "do", s.makeRoom()+": the compaction then runs by itself")
	}
	return false
}

// overBudget reports whether indexing is paused for lack of budget, and the disk has room to compact files into so many
// bytes: an operator has lowered the budget, and only a compaction beyond it gives the space back.
func (s *Store) overBudget(bytes int64) bool {
	if !s.room.paused.Load() || !s.room.ofBudget.Load() {
		return false
	}
	free, _, err := s.cfg.Disk(s.cfg.Dir)
	return err == nil && free >= bytes+bytes/compactionSlack+s.room.reserve.Load()
}

// Paused returns, for a person, why indexing is paused, and the way out; empty: it is not.
func (s *Index) Paused() string {
	r := &s.room
	if !r.paused.Load() {
		return ""
	}
	reserve := r.reserve.Load()
	return fmt.Sprintf("indexing is paused: %s are free of %s, and weft keeps %s to finish compactions and "+
		"to start again; queries and streams go on, and indexing resumes by itself when %s are free: %s",
		diskBytes(r.free.Load()), s.roomName(), diskBytes(reserve), diskBytes(reserve+reserve/resumeAbove), s.makeRoom())
}

// fullDisk says how full the disk is when that is worth a warning; empty: it is not.
func (s *Store) fullDisk() string {
	r := &s.room
	full := r.fullPercent()
	if full < fullLeast || s.fits() {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s is %d %% full, %s are free", s.roomName(), full, diskBytes(r.free.Load()))
	if at := s.growth.FullAt(s.cfg.Now(), r.free.Load()-r.reserve.Load()); !at.IsZero() {
		fmt.Fprintf(&b, "; at the present rate indexing pauses on %s", at.UTC().Format("2006-01-02 at 15:04 UTC"))
	}
	fmt.Fprintf(&b, ": %s", s.makeRoom())
	return b.String()
}

// diskBytes writes a size for people.
func diskBytes(n int64) string {
	if n < 1_000_000_000 {
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.1f GB", float64(n)/1e9)
}
