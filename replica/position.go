package replica

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/benbjohnson/litestream"
	"github.com/superfly/ltx"

	"weft.dev/weft/db"
)

// ForeignError says that a replica is not a copy of this index, or of a later state of it: what this index writes there would
// make it one that can't be restored.
type ForeignError struct {
	Where  string // the replica
	Theirs string // instance of the index that the replica is of; empty: it doesn't say
	Ours   string
	Remote ltx.TXID // newest transaction in the replica
	Local  ltx.TXID // newest transaction that was cut here; 0: none
	Why    string
}

func (e *ForeignError) Error() string {
	theirs := e.Theirs
	if theirs == "" {
		theirs = "unknown"
	}
	return fmt.Sprintf("the replica %s %s. The replica: index %s, up to transaction %s. Here: index %s, up to transaction %s. Either give this index a path in the replica "+
		"that no other has, now or before; or, if the replica is what you want, move this data directory away and start again: weft restores the replica then",
		e.Where, e.Why, theirs, e.Remote, e.Ours, e.Local)
}

// newest is the newest file of the main database in the replica; the lowest level of those that end at the same transaction.
func newest(ctx context.Context, client litestream.ReplicaClient) (best ltx.FileInfo, err error) {
	for level := 0; level <= litestream.SnapshotLevel; level++ {
		files, err := client.LTXFiles(ctx, level, 0, false)
		if err != nil {
			return best, fmt.Errorf("replica: list level %d: %w", level, err)
		}
		for files.Next() {
			if f := files.Item(); f.MaxTXID > best.MaxTXID {
				best = *f
			}
		}
		if err := files.Close(); err != nil {
			return best, fmt.Errorf("replica: list level %d: %w", level, err)
		}
	}
	return best, nil
}

// instanceOf is whose the replica is; empty: it doesn't say.
func instanceOf(ctx context.Context, c Source) (string, error) {
	client, err := c.Client(instanceSub)
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "weft-replica-")
	if err != nil {
		return "", fmt.Errorf("replica: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "instance.db")
	if _, err := Download(ctx, client, path); errors.Is(err, ErrAbsent) {
		return "", nil
	} else if err != nil {
		return "", err
	}
	return db.InstanceOf(ctx, path)
}

// claim writes whose the replica is.
func claim(ctx context.Context, c Config, instance string) error {
	client, err := c.Client(instanceSub)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "weft-replica-")
	if err != nil {
		return fmt.Errorf("replica: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "instance.db")
	if err := db.WriteInstance(path, instance); err != nil {
		return err
	}
	_, err = Upload(ctx, client, path)
	return err
}

// compare holds the local database against the replica. With open, the local database is in use, and its pages tell nothing.
// It answers a ForeignError where the two don't belong together, and whether the replica is empty.
func compare(ctx context.Context, c Config, instance string, checked, open bool) (empty bool, err error) {
	client, err := c.Client("")
	if err != nil {
		return false, err
	}
	if err := client.Init(ctx); err != nil {
		return false, fmt.Errorf("replica: %w", err)
	}
	theirs, err := instanceOf(ctx, c)
	if err != nil {
		return false, err
	}
	remote, err := newest(ctx, client)
	if err != nil {
		return false, err
	}
	stream := litestream.NewDB(c.DB)
	local, err := stream.Pos()
	if err != nil {
		return false, fmt.Errorf("replica: read how far the replica was (if weft isn't running, remove %s: the next upload is of the whole database): %w", stream.MetaPath(), err)
	}
	foreign := &ForeignError{Where: c.Where(), Theirs: theirs, Ours: instance, Remote: remote.MaxTXID, Local: local.TXID}
	switch {
	case theirs != "" && theirs != instance:
		foreign.Why = "is of another index"
	case remote.MaxTXID == 0:
		return true, nil
	case local.TXID == 0 && checked:
		return false, nil // it was held against the replica before, and then the process ended
	case local.TXID == 0 && open:
		foreign.Why = "has a database, and whether it is this one can be told only while nothing is written: start weft again"
	case local.TXID == 0:
		same, err := samePages(ctx, client, remote, c.DB)
		if err != nil {
			return false, err
		}
		if same {
			return false, nil
		}
		foreign.Why = "ends with another state than this data directory has"
	case remote.MaxTXID > local.TXID:
		foreign.Why = "is ahead of this data directory"
	default:
		same, err := sameFile(ctx, client, remote, stream.LTXPath(0, remote.MinTXID, remote.MaxTXID))
		if err != nil {
			return false, err
		}
		if same {
			return false, nil
		}
		foreign.Why = "has another transaction of that number than this data directory: two have written to it"
	}
	return false, foreign
}

// samePages says whether the pages that the newest file of the replica ends with are those of a database: so it is when the
// database is that which was restored from there. Each transaction of weft changes pages that no other state has.
func samePages(ctx context.Context, client litestream.ReplicaClient, info ltx.FileInfo, path string) (same bool, err error) {
	defer func() {
		if p := recover(); p != nil { // see decode
			err = fmt.Errorf("replica: the newest file of the replica is damaged: %v", p)
		}
	}()
	f, err := os.Open(path)
	if err != nil {
		return false, fmt.Errorf("replica: %w", err)
	}
	defer func() { _ = f.Close() }()
	rc, err := client.OpenLTXFile(ctx, info.Level, info.MinTXID, info.MaxTXID, 0, 0)
	if err != nil {
		return false, fmt.Errorf("replica: read the newest file of the replica: %w", err)
	}
	defer func() { _ = rc.Close() }()
	dec := ltx.NewDecoder(bufio.NewReaderSize(rc, 1<<20))
	if err := dec.DecodeHeader(); err != nil {
		return false, fmt.Errorf("replica: read the newest file of the replica: %w", err)
	}
	size := int64(dec.Header().PageSize)
	theirs, ours := make([]byte, size), make([]byte, size)
	for {
		var page ltx.PageHeader
		err := dec.DecodePage(&page, theirs)
		if errors.Is(err, io.EOF) {
			return true, nil
		} else if err != nil {
			return false, fmt.Errorf("replica: read the newest file of the replica: %w", err)
		}
		if _, err := f.ReadAt(ours, int64(page.Pgno-1)*size); errors.Is(err, io.EOF) {
			return false, nil
		} else if err != nil {
			return false, fmt.Errorf("replica: %w", err)
		}
		if page.Pgno == 1 {
			// The form of journal, and what SQLite counts beside it, may be set anew by a restore or an open.
			for _, b := range [][]byte{theirs, ours} {
				clear(b[18:20])
				clear(b[24:28])
				clear(b[92:100])
			}
		}
		if !bytes.Equal(ours, theirs) {
			return false, nil
		}
	}
}

// sameFile says whether a file of the replica is the local one; true where there is none.
func sameFile(ctx context.Context, client litestream.ReplicaClient, info ltx.FileInfo, path string) (bool, error) {
	ours, err := os.Open(path)
	if info.Level != 0 || errors.Is(err, fs.ErrNotExist) {
		return true, nil
	} else if err != nil {
		return false, fmt.Errorf("replica: %w", err)
	}
	defer func() { _ = ours.Close() }()
	stat, err := ours.Stat()
	if err != nil {
		return false, fmt.Errorf("replica: %w", err)
	}
	if stat.Size() != info.Size || info.Size < ltx.TrailerSize {
		return false, nil
	}
	// A file ends with the checksum of all of it.
	end, err := client.OpenLTXFile(ctx, info.Level, info.MinTXID, info.MaxTXID, info.Size-ltx.TrailerSize, ltx.TrailerSize)
	if err != nil {
		return false, fmt.Errorf("replica: read the newest file of the replica: %w", err)
	}
	defer func() { _ = end.Close() }()
	var a, b [ltx.TrailerSize]byte
	if _, err := ours.ReadAt(a[:], info.Size-ltx.TrailerSize); err != nil {
		return false, fmt.Errorf("replica: %w", err)
	}
	if _, err := io.ReadFull(end, b[:]); err != nil {
		return false, fmt.Errorf("replica: read the newest file of the replica: %w", err)
	}
	return a == b, nil
}
