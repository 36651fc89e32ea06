package restore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/benbjohnson/litestream"
	"github.com/superfly/ltx"
	"golang.org/x/sync/errgroup"

	"weft.dev/weft/api/wire"
	"weft.dev/weft/db"
	"weft.dev/weft/db/disk"
	"weft.dev/weft/db/replica/config"
)

// Outcome is the result of a verification.
type Outcome = wire.Outcome

// The outcomes. Inconclusive makes no statement about the replica: it was unreachable, for example, or the scratch
// directory is too small.
const (
	OK           = wire.VerificationOK
	Failed       = wire.VerificationFailed
	Inconclusive = wire.VerificationInconclusive
)

// VerifyOptions are the options of a verification. The zero value reads all of the replica.
type VerifyOptions struct {
	// Scratch is the directory in which Verify restores weft.db, in a directory of its own that it removes afterwards;
	// empty: the system's directory of temporary files.
	Scratch string
	// SegmentBytes bounds the bytes of the segments that Verify reads. It chooses them at random, and checks only the
	// presence of the others. 0: Verify reads all.
	SegmentBytes int64
	// Reached is a transaction that was uploaded, so the replica must have it; 0: none is required.
	Reached  ltx.TXID
	Instance string           // the index to which it must belong; empty: any
	Pacer    *disk.Pacer      // rests while weft.db is restored; nil: nothing does
	Progress func(p Progress) // nil: no reports
	Now      func() time.Time // nil: time.Now
}

// Verification is the report of a verification.
type Verification = wire.Verification

// maxFaults is the number of faults that a report lists: more faults usually have one cause.
const maxFaults = 20

// readers is the number of files that are read at once.
const readers = 4

// verification is a verification under way.
type verification struct {
	clients  *config.Pool
	o        VerifyOptions
	progress restore // for its progress
	mu       sync.Mutex
	v        *Verification // guarded by mu while readers are at work
	have     []File        // that were read
}

// Verify restores the main database of a replica in a scratch directory and checks it. It reads, for their checksums,
// the LTX files that a restore to now does not need, and the segments of the newest restore point, which take no disk.
// It does not read segments that only earlier restore points need: only the manifest of each
// of those points names them.
func Verify(ctx context.Context, src config.Source, o VerifyOptions) *Verification {
	if o.Now == nil {
		o.Now = time.Now
	}
	began := o.Now()
	x := &verification{clients: config.PoolOf(src), o: o, v: &Verification{},
		progress: restore{o: Options{Progress: o.Progress}}}
	err := x.run(ctx)
	switch {
	case err != nil && proves(err), len(x.v.Faults) > 0: // a fault is proof, whatever error follows
		x.v.Outcome = Failed
	case err != nil:
		x.v.Outcome = Inconclusive
	default:
		x.v.Outcome = OK
	}
	if err != nil {
		x.fault(err)
	}
	x.v.EndedAt = o.Now()
	x.v.TookSeconds = x.v.EndedAt.Sub(began).Seconds()
	if !x.v.Time.IsZero() {
		x.v.AgeSeconds = max(x.v.EndedAt.Sub(x.v.Time).Seconds(), 0)
	}
	return x.v
}

// proves reports whether an error is a fault of the replica, and not of the connection or of this machine.
func proves(err error) bool {
	var file *FileError
	var gap *GapError
	var point *PointError
	return errors.Is(err, ErrDamaged) || errors.Is(err, ErrEmpty) || errors.Is(err, errOther) ||
		errors.As(err, &file) && file.Damaged() || errors.As(err, &gap) || errors.As(err, &point)
}

func (x *verification) fault(err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.v.Faults) < maxFaults && !slices.Contains(x.v.Faults, err.Error()) {
		x.v.Faults = append(x.v.Faults, err.Error())
	}
}

func (x *verification) run(ctx context.Context) error {
	client, err := x.clients.Client("")
	if err != nil {
		return err
	}
	defer x.clients.Release(client)
	dir, err := os.MkdirTemp(x.o.Scratch, "weft-verify-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "weft.db")
	if err := x.restore(ctx, client, dir, path); err != nil {
		return err
	}
	x.progress.report("check of weft.db", 0, 0)
	if err := inspect(ctx, path); err != nil {
		return err
	}
	m, err := db.ManifestOf(ctx, path)
	if err != nil {
		return err
	}
	if err := checkOwner(ctx, x.clients, m, x.o.Instance); err != nil && proves(err) {
		x.fault(err)
	} else if err != nil {
		return err
	}
	x.v.Instance = m.Instance
	x.v.LogSeq = m.LastSeq
	if err := os.Remove(path); err != nil { // the segments then have the disk space
		return err
	}
	if err := x.readOthers(ctx, client); err != nil {
		return err
	}
	return x.segments(ctx, m)
}

// restore writes the newest main database to path.
func (x *verification) restore(ctx context.Context, client litestream.ReplicaClient, dir, path string) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	a, err := assemble(ctx, client, Target{}, x.o.Pacer.File(f), func(files []File) error {
		size, err := DatabaseBytes(ctx, client, files[len(files)-1])
		if err != nil {
			return err
		}
		x.v.ScratchBytes = size
		x.progress.report("weft.db", 0, SumBytes(files))
		return EnoughSpace(dir, size)
	}, func(n int64) { x.progress.report("weft.db", n, 0) })
	if err != nil {
		return err
	}
	for _, bad := range a.bad {
		if bad.Damaged() {
			x.have = append(x.have, bad.File)
			x.fault(bad)
		}
	}
	last := a.files[len(a.files)-1]
	x.v.TXID = wire.TXID(last.Max)
	x.v.Time = last.Time
	x.v.Files = len(a.files)
	x.v.ReadBytes = a.read
	x.have = append(x.have, a.files...)
	if last.Max < x.o.Reached {
		x.fault(fmt.Errorf("transaction %s was uploaded, but the replica ends at %s", x.o.Reached, last.Max))
	}
	return nil
}

// readOthers reads the LTX files that the restore did not need: a restore to another moment needs them.
func (x *verification) readOthers(ctx context.Context, client litestream.ReplicaClient) error {
	files, err := ListFiles(ctx, client)
	if err != nil {
		return err
	}
	if missing := breaksOf(files); len(missing) > 0 {
		// A file that is deleted during the listing looks like a hole; a second listing has no hole then.
		again, err := ListFiles(ctx, client)
		if err != nil {
			return err
		}
		still := breaksOf(again)
		for _, h := range missing {
			if slices.Contains(still, h) {
				x.fault(fmt.Errorf("level %d lacks the transactions %s to %s between others that it has",
					h.Level, h.From, h.To))
			}
		}
	}
	files = slices.DeleteFunc(files, func(f File) bool { return slices.ContainsFunc(x.have, f.Same) })
	x.progress.report("other files", 0, SumBytes(files))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(readers)
	for _, f := range files {
		g.Go(func() error {
			err := ReadFile(ctx, client, "", f, func(ltx.Header) error { return nil }, func(uint32, []byte) error {
				return ctx.Err()
			})
			var file *FileError
			switch {
			case errors.As(err, &file) && file.gone(): // a compaction has replaced it
				return nil
			case errors.As(err, &file) && file.Damaged():
				x.fault(err)
			case err != nil:
				return err
			}
			x.progress.report("other files", f.Bytes, 0)
			x.mu.Lock()
			defer x.mu.Unlock()
			x.v.Files++
			x.v.ReadBytes += f.Bytes
			return nil
		})
	}
	return g.Wait()
}

// segments looks up all segments of the manifest, and reads them, up to SegmentBytes.
func (x *verification) segments(ctx context.Context, m *db.Manifest) error {
	stored, err := storedSegments(ctx, x.clients, m)
	if err != nil {
		return err
	}
	x.v.Segments = len(stored)
	there := slices.DeleteFunc(slices.Clone(stored), func(s StoredSegment) bool { return s.Stored == 0 })
	switch {
	case len(there) == 0 && len(stored) > 0 && m.Whole:
		x.v.Notes = append(x.v.Notes, "the replica has no segments: the log is complete, and weft serve rebuilds them "+
			"from it")
		x.v.Segments = 0
		return nil
	case len(there) < len(stored):
		for _, s := range stored {
			if s.Stored == 0 {
				x.fault(fmt.Errorf("%s with %d links is missing", config.SegmentSub(s.File), s.Links))
			}
		}
	}
	if x.o.SegmentBytes > 0 {
		there = sample(there, x.o.SegmentBytes)
		x.v.Notes = append(x.v.Notes, fmt.Sprintf("of %d segments, %d were read", len(stored), len(there)))
	}
	all := int64(0)
	for _, s := range there {
		all += s.Stored
	}
	x.progress.report("segments", 0, all)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(readers)
	for _, s := range there {
		g.Go(func() error {
			n, err := readSegment(ctx, x.clients, s.ManifestFile, io.Discard)
			var file *FileError
			if errors.As(err, &file) && (file.Damaged() || file.gone()) {
				x.fault(err)
				return nil
			}
			if err != nil {
				return err
			}
			x.progress.report("segments/"+s.File, n, 0)
			x.mu.Lock()
			defer x.mu.Unlock()
			x.v.SegmentsRead++
			x.v.ReadBytes += n
			return nil
		})
	}
	return g.Wait()
}

// sample chooses segments at random until they have the given number of bytes. It chooses at least one.
func sample(of []StoredSegment, bytes int64) []StoredSegment {
	rand.Shuffle(len(of), func(i, j int) { of[i], of[j] = of[j], of[i] })
	for i, s := range of {
		bytes -= s.Stored
		if bytes < 0 {
			return of[:max(i, 1)]
		}
	}
	return of
}
