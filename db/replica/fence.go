package replica

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/superfly/ltx"

	"weft.dev/weft/db/panics"
	"weft.dev/weft/db/replica/config"
	"weft.dev/weft/db/replica/restore"
)

// fence is set once, for the rest of the process, when nothing may be written to the replica any more.
type fence struct{ err atomic.Pointer[error] }

func (f *fence) reason() error {
	if err := f.err.Load(); err != nil {
		return *err
	}
	return nil
}

// fencedAdvice is the remedy after two processes have written to a replica.
const fencedAdvice = "Make sure that only one process writes there. Queries continue here; give this index its own " +
	"path in litestream.yml, and weft uploads everything to it"

// fencedName is the file in the state directory that a fence writes when two processes have written to the replica:
// KEY/fenced. It holds the message.
const fencedName = "fenced"

// raiseFence sets the fence and logs it once. From then on no caller waits for uploads.
func (r *Replicator) raiseFence(err error) {
	if r.fence.reason() != nil {
		return
	}
	var writer *WriterError
	if errors.As(err, &writer) {
		said := *writer // without the operation
		if said.Remains == "" {
			ctx, cancel := context.WithTimeout(context.Background(), prepareTimeout)
			defer cancel()
			said.Remains, err = r.remains(ctx)
			if err != nil {
				r.cfg.Logger.Debug("cannot determine what can be restored", "err", err)
			}
		}
		err = &said
	}
	if !r.fence.err.CompareAndSwap(nil, &err) {
		return
	}
	r.failed("fence", err)
	if writer != nil && writer.Both {
		if err := os.WriteFile(r.queue.path("", fencedName), []byte(err.Error()+"\n"), 0o644); err != nil {
			r.cfg.Logger.Error("cannot record that two processes have written to the replica; the next start will not "+
				"know it", "err", err)
		}
	}
	r.cfg.Logger.Error("replication stopped: another process writes to the replica; indexing and queries continue",
		"err", err, "do", advice(err))
	r.Release()
}

// confirmLease asks whether the replica is ours to write to.
func (r *Replicator) confirmLease(ctx context.Context) error {
	if err := r.fence.reason(); err != nil {
		return err
	}
	return r.lease.check(ctx)
}

// newLease returns the lease of this process. The lease is not acquired yet.
func (r *Replicator) newLease() error {
	objects, err := config.NewObjects(r.cfg.Replica)
	if err != nil {
		return err
	}
	if r.cfg.objects != nil {
		objects = r.cfg.objects(objects)
	}
	host, err := os.Hostname()
	if err != nil {
		host = "a host without a name"
	}
	holder, err := holderOf(r.queue.dir, host)
	if err != nil {
		return err
	}
	r.lease = &lease{
		objects: config.BoundObjects(objects, cmp.Or(r.cfg.Replica.StallTimeout, config.DefaultStallTimeout)),
		where:   r.cfg.Replica.Where(), times: r.cfg.lease, logger: r.cfg.Logger, state: r.leaseState,
		self: leaseRecord{Holder: holder, Process: r.process, Host: host},
		onLost: func(err error) { // in a goroutine: its caller does not wait for the list of restore points
			go func() {
				defer panics.Log(r.cfg.Logger, "replica: raise the fence")
				r.raiseFence(err)
			}()
		},
	}
	return nil
}

// leaseState adds the state of the index to the lease.
func (r *Replicator) leaseState(to *leaseRecord) {
	r.mu.Lock()
	defer r.mu.Unlock()
	to.Instance = r.state.instance
	to.From = r.state.begun
	to.NewestTXID = r.state.sentTXID
	to.Checksum = r.state.sentChecksum
}

// runFenced does the work that remains behind a fence, until ctx ends: it syncs, so that SQLite checkpoints the WAL and
// the WAL stays short, and it drops the files that would wait for the replica forever.
func (r *Replicator) runFenced(ctx context.Context) {
	ticker := time.NewTicker(max(r.cfg.Replica.SyncInterval, time.Second))
	defer ticker.Stop()
	for {
		err := errors.Join(r.queue.drop(), r.dropCuts(ctx))
		if err != nil && ctx.Err() == nil {
			r.failed("fenced", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-r.cutNow:
		}
	}
}

// dropCuts syncs, and removes all LTX files but the newest, from which Litestream continues.
func (r *Replicator) dropCuts(ctx context.Context) error {
	if err := r.syncLocal(ctx); err != nil {
		return err
	}
	pos, err := r.local.Pos()
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(r.local.LTXLevelDir(0))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if _, to, err := ltx.ParseFilename(e.Name()); err == nil && to < pos.TXID {
			if err := os.Remove(filepath.Join(r.local.LTXLevelDir(0), e.Name())); err != nil &&
				!errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

// knownFiles are the files of the replica that this process knows: the files of the takeover and the files written
// since.
type knownFiles map[fileName]knownFile

type knownFile struct {
	bytes int64 // unknownLength while it is being written
	// notes is the number of times that the file was noted. A file that is noted during a listing may exist although
	// the listing lacks it.
	notes int
}

type fileName struct {
	level    int
	min, max ltx.TXID
}

const unknownLength = -1

func nameOf(f restore.File) fileName { return fileName{f.Level, f.Min, f.Max} }

// rememberListed makes the listed files the known files.
func (r *Replicator) rememberListed(files []restore.File) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state.known = knownFiles{}
	r.state.begun = 0
	for _, f := range files {
		r.state.known[nameOf(f)] = knownFile{bytes: f.Bytes}
		r.state.begun = max(r.state.begun, f.Max)
	}
}

// rememberWritten notes a file that this process writes: before, with unknownLength, and after.
func (r *Replicator) rememberWritten(name fileName, bytes int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state.known != nil {
		r.state.known[name] = knownFile{bytes, r.state.known[name].notes + 1}
	}
}

// unknownFiles returns the listed files that this process does not know or that have changed their length. It forgets
// each file of before, which was known before the listing, that the listing lacks, unless the file was noted since.
func (r *Replicator) unknownFiles(files []restore.File, before knownFiles) []restore.File {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := r.state.known
	if known == nil {
		return nil // the replica was unreachable when this process began
	}
	var found []restore.File
	for _, f := range files {
		is, ok := known[nameOf(f)]
		switch {
		case ok && (is.bytes == unknownLength || is.bytes == f.Bytes):
		case !ok && f.Max <= r.state.begun: // a late compaction of the last writer
		default:
			found = append(found, f)
		}
		delete(before, nameOf(f))
	}
	for name, was := range before {
		if was.bytes != unknownLength && known[name] == was {
			delete(known, name)
		}
	}
	return found
}

// knownNames returns a copy of the files that are known at this moment.
func (r *Replicator) knownNames() knownFiles {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.state.known)
}

// restorableWithout describes the restorable part of a listing without the strangers' files. A file that ends after the
// start of a stranger's file may have been made from that file: only the files that end before all of them are sure.
func restorableWithout(files, strangers []restore.File) string {
	limit := ltx.TXID(0)
	for _, f := range strangers {
		if limit == 0 || f.Max < limit {
			limit = f.Max
		}
	}
	var sure []restore.File
	for _, f := range files {
		if limit == 0 || f.Max < limit {
			sure = append(sure, f)
		}
	}
	if len(restore.Spans(sure)) == 0 {
		return "no time is certain to be restorable; weft restore finds the newest one that is"
	}
	return restore.DescribeSpans(restore.Spans(sure))
}

// remains describes which restore points are sure, now that another process has the lease.
func (r *Replicator) remains(ctx context.Context) (string, error) {
	before := r.knownNames()
	files, err := r.listNames(ctx)
	if err != nil {
		return "", err
	}
	r.lease.mu.Lock()
	from := r.lease.next.From
	r.lease.mu.Unlock()
	r.mu.Lock()
	sent := r.state.sentTXID
	r.mu.Unlock()
	switch {
	case from == 0: // the other process has not recorded where it continued
		return restorableWithout(files, r.unknownFiles(files, before)), nil
	case sent <= from:
		return fmt.Sprintf("the replica is intact: the other process continued from transaction %s, and this one "+
			"uploaded up to %s", from, sent), nil
	}
	sure := slices.DeleteFunc(files, func(f restore.File) bool { return f.Max > from })
	return fmt.Sprintf("both processes have written after transaction %s: %s",
		from, restore.DescribeSpans(restore.Spans(sure))), nil
}

// findForeignWrites finds writes of another process: files that this process does not know, and files with the names of
// its newest files but other content.
func (r *Replicator) findForeignWrites(ctx context.Context, files []restore.File, before knownFiles) error {
	var found []restore.File
	for _, f := range r.unknownFiles(files, before) {
		// An upload of the earlier process in this directory may have arrived late.
		local := r.local.LTXPath(0, f.Min, f.Max)
		if _, err := os.Stat(local); err == nil {
			same, err := sameFile(ctx, r.client, f, local)
			if err != nil {
				return err
			}
			if f.Level == 0 && same {
				r.rememberWritten(nameOf(f), f.Bytes)
				continue
			}
		}
		found = append(found, f)
	}
	if len(found) == 0 {
		same, newest, err := r.newestIsOurs(ctx, files)
		if err != nil || same {
			return err
		}
		found = []restore.File{newest}
	}
	return &WriterError{
		Where: r.cfg.Replica.Where(), Why: "has a second writer: another process wrote " + found[0].String(),
		Remains: restorableWithout(files, found), Both: true,
		Do: fencedAdvice,
	}
}

// newestIsOurs compares the file that this process sent last with the replica's file of that name. The caller has
// checked the length.
func (r *Replicator) newestIsOurs(ctx context.Context, files []restore.File) (bool, restore.File, error) {
	r.mu.Lock()
	sent := r.state.sentTXID
	checksum := r.state.sentChecksum
	r.mu.Unlock()
	sum, err := hex.DecodeString(checksum)
	if err != nil || len(sum) == 0 {
		return true, restore.File{}, nil
	}
	for _, f := range files {
		if f.Level == 0 && f.Min == sent && f.Max == sent {
			same, err := endsWith(ctx, r.client, f, sum)
			return same, f, err
		}
	}
	return true, restore.File{}, nil
}

// noteSent remembers the newest file of level 0, by which a later holder of the lease recognizes our files.
func (r *Replicator) noteSent(max ltx.TXID, path string) {
	sum := checksumOf(path)
	r.mu.Lock()
	defer r.mu.Unlock()
	if max >= r.state.sentTXID {
		r.state.sentTXID = max
		r.state.sentChecksum = sum
	}
}

// checksumOf reads the checksum at the end of an LTX file, in hexadecimal; empty: the file cannot be read.
func checksumOf(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil || info.Size() < ltx.ChecksumSize {
		return ""
	}
	var end [ltx.ChecksumSize]byte
	if _, err := f.ReadAt(end[:], info.Size()-ltx.ChecksumSize); err != nil {
		return ""
	}
	return hex.EncodeToString(end[:])
}
