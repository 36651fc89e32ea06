package replica

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/benbjohnson/litestream"
	"github.com/superfly/ltx"
	"modernc.org/sqlite"

	"weft.dev/weft/db/dirlock"
	"weft.dev/weft/db/replica/dbfile"
	"weft.dev/weft/db/replica/restore"
)

// Prepare checks, before the index is opened, that the data directory and the replica belong together. Without a
// database on either side, the index will be a new one. Without a local database, Prepare restores the replica's. With
// both, it compares them. If the replica is unreachable, Prepare succeeds if this data directory has replicated to it
// before.
func (r *Replicator) Prepare(ctx context.Context) (err error) {
	c := r.cfg.Replica
	if err := c.CheckDir(r.cfg.Dir); err != nil {
		return err
	}
	// SQLite and Litestream both open the database in this process. With the usual locks the kernel drops the locks of
	// one when the other closes any descriptor of the file.
	if !sqlite.OFDLockingEnabled() {
		if _, err := sqlite.OFDLocking(true); err != nil {
			return fmt.Errorf("replica: weft cannot replicate on this system (run stock Litestream with weft serve "+
				"--replicate off): %w", err)
		}
	}
	if err := os.MkdirAll(r.cfg.Dir, 0o755); err != nil {
		return fmt.Errorf("replica: %w", err)
	}
	r.client, err = r.clients.Client("")
	if err != nil {
		return err
	}
	// Another process in this directory has the same right to the lease, and its upload queue lies here, perhaps for
	// another replica: Prepare must not touch it.
	r.lock, err = dirlock.Exclusive(r.cfg.Dir)
	if err != nil {
		return fmt.Errorf("replica: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.lock.Release())
		}
	}()
	r.queue, err = newUploadQueue(r.cfg.Dir, c, r.clients, r.cfg.Pacer, r.cfg.Logger,
		func(client litestream.ReplicaClient) litestream.ReplicaClient {
			return counted{client, &r.sent}
		})
	if err != nil {
		return err
	}
	err = r.newLease()
	if err != nil {
		return err
	}
	fenced, err := r.restoreFence()
	if err != nil || fenced {
		return err
	}
	err = r.joinReplica(ctx)
	if err != nil {
		return errors.Join(err, r.endLease(ctx))
	}
	return nil
}

// restoreFence raises the fence that an earlier process left, and reports whether there is one. Queries and indexing
// continue behind it, as they did in that process: an exit would end the queries, and the next start would end the same
// way.
func (r *Replicator) restoreFence() (bool, error) {
	text, err := os.ReadFile(r.queue.path("", fencedName))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("replica: %w", err)
	}
	said := strings.TrimSpace(string(text))
	_, err = os.Stat(r.cfg.Replica.DB)
	if err != nil { // there is nothing to serve
		return false, errors.New(said)
	}
	fence := error(&WriterError{Said: said, Both: true, Do: fencedAdvice})
	r.fence.err.Store(&fence)
	r.failed("fence", fence)
	r.cfg.Logger.Error("replication is off: another process has written to the replica; indexing and queries continue",
		"err", fence,
		"do", fencedAdvice)
	return true, nil
}

// DirLock returns the data directory, which Prepare has taken, for db.Config.Lock.
func (r *Replicator) DirLock() *dirlock.Lock { return r.lock }

// joinReplica makes sure that data directory and replica belong together, and takes the lease of the replica.
func (r *Replicator) joinReplica(ctx context.Context) error {
	c := r.cfg.Replica
	if _, err := os.Stat(c.DB); errors.Is(err, fs.ErrNotExist) {
		found, err := r.takeOver(ctx)
		if err != nil {
			return err
		}
		return r.startWithoutDatabase(ctx, found)
	} else if err != nil {
		return fmt.Errorf("replica: %w", err)
	}
	local, err := localOf(ctx, c.DB)
	if err != nil {
		return err
	}
	err = r.check(ctx, local, false)
	switch {
	case err == nil || fenced(err):
		return err
	case r.checked():
		r.cfg.Logger.Warn("the replica is unreachable; keeping new data on this disk for it", "replica", c.Where(),
			"err", err)
		return nil
	}
	return fmt.Errorf("replica: cannot check whether %s belongs to this index (weft serve --replicate off works "+
		"meanwhile): %w", c.Where(), err)
}

// takeOver takes the lease for a data directory without a database. It returns the files of the replica.
func (r *Replicator) takeOver(ctx context.Context) ([]restore.File, error) {
	c := r.cfg.Replica
	unknown := func(err error) error {
		if fenced(err) {
			return err
		}
		return fmt.Errorf("replica: %s has no database, and cannot check whether %s has one: %w",
			r.cfg.Dir, c.Where(), err)
	}
	look, cancel := context.WithTimeout(ctx, prepareTimeout)
	defer cancel()
	last, err := r.lease.newest(look)
	if err != nil {
		return nil, unknown(err)
	}
	files, err := restore.ListFiles(look, r.client)
	if err != nil {
		return nil, unknown(err)
	}
	if last != nil || len(files) > 0 {
		if err := r.waitFor(ctx, last); err != nil {
			return nil, unknown(err)
		}
	}
	look, cancel = context.WithTimeout(ctx, prepareTimeout)
	defer cancel()
	files, err = restore.ListFiles(look, r.client)
	if err != nil {
		return nil, unknown(err)
	}
	r.rememberListed(files)
	if err := r.lease.acquire(look, last); err != nil {
		return nil, unknown(err)
	}
	return files, nil
}

// waitFor waits until no other process writes to the replica.
func (r *Replicator) waitFor(ctx context.Context, last *found) error {
	if last != nil && (last.mine || last.Released) {
		return nil
	}
	return r.lease.watch(ctx, last, func(ctx context.Context) (string, error) {
		// An older weft, and stock Litestream, write without a lease.
		files, err := restore.ListLevel(ctx, r.client, 0)
		newest := ltx.TXID(0)
		for _, f := range files {
			newest = max(newest, f.Max)
		}
		return newest.String(), err
	})
}

// startWithoutDatabase prepares a data directory without a database. files are the files of the replica.
func (r *Replicator) startWithoutDatabase(ctx context.Context, files []restore.File) error {
	c := r.cfg.Replica
	if len(files) == 0 {
		r.cfg.Logger.Info("no database and no replica: starting a new index", "dir", r.cfg.Dir, "replica", c.Where())
		return r.forget()
	}
	if r.cfg.Restore == nil {
		return fmt.Errorf("replica: %s has no database, but %s has one: restore it first", r.cfg.Dir, c.Where())
	}
	// Local state of an earlier database does not apply to the new one.
	if err := r.forget(); err != nil {
		return err
	}
	r.cfg.Logger.Info("no database here: restoring the replica", "dir", r.cfg.Dir, "replica", c.Where())
	if err := r.cfg.Restore(ctx, r.lock); err != nil {
		return err
	}
	local, err := localOf(ctx, c.DB)
	if err != nil {
		return err
	}
	return r.check(ctx, local, false)
}

func localOf(ctx context.Context, path string) (local localState, err error) {
	local.instance, err = dbfile.Instance(ctx, path)
	if err != nil {
		return local, err
	}
	local.seq, err = dbfile.LastSeq(ctx, path)
	return local, err
}

// forget removes Litestream's local state of the database.
func (r *Replicator) forget() error {
	if err := os.RemoveAll(litestream.NewDB(r.cfg.Replica.DB).MetaPath()); err != nil {
		return fmt.Errorf("replica: %w", err)
	}
	return nil
}

func (r *Replicator) checked() bool {
	_, err := os.Stat(r.queue.path("", "checked"))
	return err == nil
}

// check compares the local database with the replica, takes the lease, and claims a replica that names no index as its
// owner.
func (r *Replicator) check(ctx context.Context, local localState, open bool) error {
	look, cancel := context.WithTimeout(ctx, prepareTimeout)
	defer cancel()
	last, err := r.lease.newest(look)
	if err != nil {
		return fmt.Errorf("replica: look at the lease: %w", err)
	}
	r.lease.mu.Lock()
	held := r.lease.generation > 0
	r.lease.mu.Unlock()
	if last != nil && !held {
		if err := r.waitFor(ctx, last); err != nil {
			return err
		}
	}
	look, cancel = context.WithTimeout(ctx, prepareTimeout)
	defer cancel()
	found, err := compare(look, r.cfg.Replica, r.clients, local, last)
	if err == nil && last == nil && found.fresh && !found.empty { // a replica without a lease
		if err := r.waitFor(ctx, nil); err != nil {
			return err
		}
		look, cancel = context.WithTimeout(ctx, prepareTimeout)
		defer cancel()
		found, err = compare(look, r.cfg.Replica, r.clients, local, nil)
	}
	if err != nil {
		return err
	}
	if !held {
		r.rememberListed(found.files)
	}
	// The lease record names the instance: if this process ends before the claim, the next check finds the owner.
	r.mu.Lock()
	r.state.instance = local.instance
	r.mu.Unlock()
	if err := r.lease.acquire(look, last); err != nil {
		return err
	}
	return r.claim(look, local, found, open)
}

// claim records that the replica belongs to this index, after the lease is taken. Before that it removes local state
// that does not match the replica.
func (r *Replicator) claim(ctx context.Context, local localState, found comparison, open bool) error {
	if (found.empty || found.torn) && !open {
		// LTX files for another replica, or for this one before it was emptied, do not begin at its start.
		if err := r.forget(); err != nil {
			return err
		}
	}
	if found.empty && !open {
		if err := os.RemoveAll(r.queue.path("sent", "")); err != nil {
			return fmt.Errorf("replica: %w", err)
		}
		if err := os.MkdirAll(r.queue.path("sent", ""), 0o755); err != nil {
			return fmt.Errorf("replica: %w", err)
		}
	}
	if err := claim(ctx, r.clients, local.instance); err != nil {
		return err
	}
	if err := os.WriteFile(r.queue.path("", "checked"), []byte(local.instance+"\n"), 0o644); err != nil {
		return fmt.Errorf("replica: %w", err)
	}
	r.mu.Lock()
	r.state.checked = true
	r.mu.Unlock()
	return nil
}

// endLease ends the renewals of a lease after a failed start: another start of this data directory takes it at once.
func (r *Replicator) endLease(ctx context.Context) error {
	return r.lease.release(ctx, false)
}
