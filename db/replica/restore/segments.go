package restore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/benbjohnson/litestream"
	"golang.org/x/sync/errgroup"

	"weft.dev/weft/db"
	"weft.dev/weft/db/replica/config"
)

// FetchesAtOnce is the number of segments that a restore or a follower fetches at once: one connection to an object
// store gives about 50 to 100 MB/s.
const FetchesAtOnce = 4

// segments fetches the segments of the manifest that the data directory lacks or has damaged.
func (r *restore) segments(ctx context.Context, m *db.Manifest) error {
	dir := filepath.Join(r.dir, "segments")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var missing []db.ManifestFile
	for _, s := range m.Segments {
		r.result.Segments++
		r.result.SegmentBytes += s.Bytes
		r.report("segments/"+s.File, 0, 0)
		whole, err := isWhole(ctx, filepath.Join(dir, s.File), s)
		switch {
		case err != nil:
			return err
		case whole:
			r.result.SegmentsHad++
		default:
			missing = append(missing, s)
		}
	}
	need := int64(0)
	for _, s := range missing {
		need += s.Bytes
	}
	if err := EnoughSpace(r.dir, need); err != nil {
		return err
	}
	if len(missing) > 0 && m.Whole {
		// Stock Litestream copies weft.db alone.
		if none, err := noSegments(ctx, r.clients, missing); err != nil {
			return err
		} else if none {
			r.note("the replica has no segments: the log is complete, and weft serve rebuilds them when it starts")
			r.result.Segments = r.result.SegmentsHad
			r.result.SegmentBytes -= need
			return nil
		}
	}
	r.report("segments", 0, need)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(FetchesAtOnce)
	for _, s := range missing {
		g.Go(func() error { return r.segment(ctx, s, m.Whole) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return SyncDir(dir)
}

// segment fetches one segment. If the log is complete, a damaged or absent segment is no error.
func (r *restore) segment(ctx context.Context, s db.ManifestFile, logComplete bool) error {
	path := filepath.Join(r.dir, "segments", s.File)
	if _, err := os.Lstat(path); err == nil && !r.o.Force {
		return fmt.Errorf("segments/%s exists but differs from the manifest: move it away, or replace it with --force",
			s.File)
	}
	n, err := FetchSegment(ctx, r.clients, s, path)
	var file *FileError
	switch {
	case errors.As(err, &file) && (file.Damaged() || file.gone()) && logComplete:
		r.note("%v: the log is complete, and weft serve rebuilds all segments from it when it starts", err)
		return nil
	case errors.As(err, &file) && (file.Damaged() || file.gone()):
		return fmt.Errorf("%w; times before %s do not need it: weft restore --plan --timestamp shows what a time needs",
			err, Stamp(time.UnixMicro(s.CreatedUS)))
	case err != nil:
		return err
	}
	r.report("segments/"+s.File, s.Bytes, 0)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.result.Read += n
	r.fetched = append(r.fetched, s.File)
	return nil
}

// isWhole reports whether the file at path is the segment of the manifest.
func isWhole(ctx context.Context, path string, s db.ManifestFile) (bool, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }()
	if info, err := f.Stat(); err != nil || info.Size() != s.Bytes {
		return false, err
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, readerFunc(func(p []byte) (int, error) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		return f.Read(p)
	})); err != nil {
		return false, err
	}
	return hex.EncodeToString(sum.Sum(nil)) == s.Checksum, nil
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// noSegments reports whether the replica has none of these segments.
func noSegments(ctx context.Context, clients *config.Pool, of []db.ManifestFile) (bool, error) {
	for _, s := range of {
		exists := false
		err := clients.Use(config.SegmentSub(s.File), func(client litestream.ReplicaClient) (err error) {
			_, exists, err = Uploaded(ctx, client)
			return err
		})
		if err != nil || exists {
			return false, err
		}
	}
	return true, nil
}
