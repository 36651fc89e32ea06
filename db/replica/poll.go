package replica

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/benbjohnson/litestream"
	"github.com/superfly/ltx"

	"weft.dev/weft/db/replica/config"
	"weft.dev/weft/db/replica/restore"
)

const (
	// pollInterval is the interval at which the replicator polls the replica for missing files and for files of other
	// writers. A poll takes a listing of each level and of the segments. The replicator reports a fault within a
	// minute.
	pollInterval = 45 * time.Second
	// pollAgainAfter is the pause after a poll that has missed a file: a listing of several levels does not show one
	// moment.
	pollAgainAfter = 3 * time.Second
	// collectEvery is the interval at which the replicator removes segments that no restore point names. Two rounds lie
	// between the end of the last restore point that names a segment and its removal, so that a running restore has an
	// hour.
	collectEvery = time.Hour
)

// pollFunc polls the replica once.
type pollFunc func(context.Context) error

// pollLoop polls the replica beside the uploads.
func (r *Replicator) pollLoop(ctx context.Context) error {
	poll := pollFunc(r.poll)
	if r.cfg.polls != nil {
		poll = r.cfg.polls(poll)
	}
	collect := r.cfg.Now().Add(pollInterval)
	timer := time.NewTimer(0)
	defer timer.Stop()
	backoff := time.Duration(0)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-r.pollNow:
		}
		err := poll(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case fenced(err):
			return err
		case err != nil: // missing files stay unseen, even while uploads succeed
			r.failed("look at the replica", err)
			backoff = min(max(2*backoff, minBackoff), maxBackoff)
		default:
			r.succeeded("look at the replica")
			backoff = 0
		}
		timer.Reset(cmp.Or(backoff, pollInterval))
		if now := r.cfg.Now(); !now.Before(collect) {
			collect = now.Add(collectEvery)
			if err := r.collect(ctx); err != nil && ctx.Err() == nil {
				r.cfg.Logger.Warn("cannot delete unreferenced segments in the replica; retrying later", "err", err)
			}
		}
	}
}

// GoneError means that the replica has lost uploaded files.
type GoneError struct {
	Where string
	What  string
}

func (e *GoneError) Error() string {
	return fmt.Sprintf("uploaded data is missing in the replica %s: %s", e.Where, e.What)
}

// poll finds files that are gone from the replica, which the replicator then uploads again, and files of another
// writer, which is a WriterError. Another error means that the replica cannot be read now.
func (r *Replicator) poll(ctx context.Context) error {
	r.mu.Lock()
	checked := r.state.checked
	r.mu.Unlock()
	if !checked || r.goneErr() != nil { // not ours yet, or it is being sent again
		return nil
	}
	gone, err := r.missing(ctx)
	if err != nil || gone == nil {
		return err
	}
	select {
	case <-ctx.Done():
		return nil
	case <-time.After(pollAgainAfter):
	}
	gone, err = r.missing(ctx)
	if err != nil || gone == nil {
		return err
	}
	r.markGone(gone)
	return nil
}

// missing compares the replica with the uploads; nil: all files are there. The newest file of level 0 must be there
// even where a snapshot of the same transaction replaces it for a restore: Litestream finds its position in level 0,
// and no retention removes this file.
func (r *Replicator) missing(ctx context.Context) (*GoneError, error) {
	r.mu.Lock()
	uploaded := r.state.remote // read before the listing
	r.mu.Unlock()
	before := r.knownNames()
	files, err := r.listNames(ctx)
	if err != nil {
		return nil, err
	}
	if err := r.findForeignWrites(ctx, files, before); err != nil {
		return nil, err
	}
	sent := uploaded
	for _, f := range files {
		sent = max(sent, f.Max)
	}
	if _, reach := restore.ChainFrom(files, restore.Target{}, 0); reach < sent {
		return &GoneError{r.cfg.Replica.Where(),
			fmt.Sprintf("the files end at transaction %s, but %s was uploaded", reach, sent)}, nil
	}
	if newest := newestCut(files); newest < uploaded {
		return &GoneError{r.cfg.Replica.Where(),
			fmt.Sprintf("level 0 ends at transaction %s, but %s was uploaded", newest, uploaded)}, nil
	}
	if sent == 0 {
		return nil, nil // nothing was sent yet
	}
	names := []string{config.FileOf(r.cfg.Replica, config.InstanceSub)}
	gone, err := r.lease.objects.Missing(ctx, config.InstanceSub, names)
	if err != nil {
		return nil, err
	}
	if len(gone) > 0 {
		return &GoneError{r.cfg.Replica.Where(), "the file that identifies the index"}, nil
	}
	lost, err := r.missingSegments(ctx)
	if err != nil || len(lost) == 0 {
		return nil, err
	}
	return &GoneError{r.cfg.Replica.Where(), fmt.Sprintf("%d segments, such as %s", len(lost), lost[0])}, nil
}

// missingSegments returns the segments of the index that were sent and that the replica lacks.
func (r *Replicator) missingSegments(ctx context.Context) ([]string, error) {
	var names []string
	segments := map[string]string{}
	for _, path := range r.index.SegmentPaths() {
		name := filepath.Base(path)
		if _, err := os.Stat(r.queue.path("sent", name)); err == nil {
			file := config.FileOf(r.cfg.Replica, config.SegmentSub(name))
			segments[file] = name
			names = append(names, file)
		}
	}
	gone, err := r.lease.objects.Missing(ctx, config.SegmentsSub, names)
	var lost []string
	for _, file := range gone {
		lost = append(lost, segments[file])
	}
	return lost, err
}

// listNames lists the files of the levels in use, without their exact times, which cost a request for each file.
func (r *Replicator) listNames(ctx context.Context) ([]restore.File, error) {
	levels := max(len(r.cfg.Replica.Levels), len(litestream.DefaultCompactionLevels)-1)
	var files []restore.File
	for level := range restore.SnapshotLevel + 1 {
		if level > levels && level < restore.SnapshotLevel {
			continue
		}
		of, err := restore.ListLevel(ctx, r.client, level)
		if err != nil {
			return nil, fmt.Errorf("replica: list files: %w", err)
		}
		files = append(files, of...)
	}
	return files, nil
}

// collect removes segments from the replica that no restore point names: a segment qualifies when it has left the
// manifest and the oldest restore point is newer than that. The segment's file in "sent" holds its state: the
// transaction by which it has left the manifest, and "free" once no restore point names it. collect removes it an hour
// later.
func (r *Replicator) collect(ctx context.Context) error {
	err := r.adoptStored(ctx)
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(r.queue.path("sent", ""))
	if err != nil {
		return fmt.Errorf("replica: %w", err)
	}
	// First the manifest, then the position: a segment outside the manifest had left it by this transaction.
	alive := map[string]bool{}
	for _, path := range r.index.SegmentPaths() {
		alive[filepath.Base(path)] = true
	}
	if err := r.syncLocal(ctx); err != nil {
		return fmt.Errorf("replica: cut: %w", err)
	}
	pos, err := r.local.Pos()
	if err != nil {
		return fmt.Errorf("replica: %w", err)
	}
	oldest := ltx.TXID(0)
	for _, e := range entries {
		name := e.Name()
		text, err := os.ReadFile(r.queue.path("sent", name))
		if err != nil {
			return fmt.Errorf("replica: %w", err)
		}
		left, free, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
		switch n, _ := strconv.ParseUint(left, 16, 64); {
		case alive[name] && left == "":
		case alive[name]: // the last round ran before the manifest named it
			err = r.mark(name, "")
		case left == "":
			err = r.mark(name, pos.TXID.String())
		case free == "":
			if oldest == 0 {
				oldest, err = r.oldest(ctx)
				if err != nil {
					return err
				}
			}
			if oldest != 0 && uint64(oldest) >= n {
				err = r.mark(name, left+" free")
			}
		default:
			err = r.remove(ctx, name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// adoptStored notes segments of the replica that this data directory does not know as sent: an earlier data directory
// uploaded them, or an upload ended after its process. Without this note the replica would keep them forever.
func (r *Replicator) adoptStored(ctx context.Context) error {
	listed, err := r.lease.objects.List(ctx, config.SegmentsSub)
	if err != nil {
		return fmt.Errorf("replica: list segments: %w", err)
	}
	for _, object := range listed {
		name, _, _ := strings.Cut(object, "/") // a bucket lists the files of each
		if filepath.Ext(name) != ".weft" || r.queue.knows(name) {
			continue
		}
		err := r.mark(name, "")
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *Replicator) mark(name, text string) error {
	path := r.queue.path("", "mark.tmp") // a torn write would leave a smaller number
	if err := errors.Join(os.WriteFile(path, []byte(text), 0o644),
		os.Rename(path, r.queue.path("sent", name))); err != nil {
		return fmt.Errorf("replica: %w", err)
	}
	return nil
}

func (r *Replicator) remove(ctx context.Context, name string) error {
	if err := r.confirmLease(ctx); err != nil {
		return err
	}
	err := r.clients.Use(config.SegmentSub(name), func(client litestream.ReplicaClient) error {
		if err := client.Init(ctx); err != nil {
			return err
		}
		return client.DeleteAll(ctx)
	})
	if err != nil {
		return fmt.Errorf("replica: remove %s: %w", name, err)
	}
	r.cfg.Logger.Info("deleted an unreferenced segment from the replica", "file", name)
	if err := os.Remove(r.queue.path("sent", name)); err != nil {
		return fmt.Errorf("replica: %w", err)
	}
	return nil
}

// oldest returns the oldest transaction that the replica can restore; 0: none.
func (r *Replicator) oldest(ctx context.Context) (oldest ltx.TXID, err error) {
	files, err := restore.ListFiles(ctx, r.client)
	if err != nil {
		return 0, err
	}
	for _, f := range files {
		// A file that begins with the first transaction is a whole database.
		if f.Min == 1 && (oldest == 0 || f.Max < oldest) {
			oldest = f.Max
		}
	}
	return oldest, nil
}
