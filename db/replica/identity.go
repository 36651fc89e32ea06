package replica

import (
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

	"weft.dev/weft/db/replica/config"
	"weft.dev/weft/db/replica/dbfile"
	"weft.dev/weft/db/replica/restore"
)

// ForeignError means that a replica is not a copy of this index, or is a copy of a later state. Further writes of this
// index would make the replica impossible to restore.
type ForeignError struct {
	Where  string // the replica
	Theirs string // instance of the replica's index; empty: unknown
	Ours   string
	Remote ltx.TXID // newest transaction in the replica
	Local  ltx.TXID // newest LTX file on this disk; 0: none

	TheirSeq, OurSeq uint64 // newest log rows; 0: not asked
	Why              string
}

func (e *ForeignError) Error() string {
	theirs := e.Theirs
	if theirs == "" {
		theirs = "unknown"
	}
	position := func(instance string, txid ltx.TXID, seq uint64) string {
		text := fmt.Sprintf("index %s, transaction %d", instance, txid)
		if seq > 0 {
			text += fmt.Sprintf(", log row %d", seq)
		}
		return text
	}
	return fmt.Sprintf("the replica %s %s (there: %s; here: %s). Either give this index a path in the replica that no "+
		"other index has used; or, to use the replica, move this data directory away and restart: weft then restores "+
		"the replica",
		e.Where, e.Why, position(theirs, e.Remote, e.TheirSeq), position(e.Ours, e.Local, e.OurSeq))
}

// claim records in the replica the index to which it belongs.
func claim(ctx context.Context, clients *config.Pool, instance string) error {
	client, err := clients.Client(config.InstanceSub)
	if err != nil {
		return err
	}
	defer clients.Release(client)
	dir, err := os.MkdirTemp("", "weft-replica-")
	if err != nil {
		return fmt.Errorf("replica: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "instance.db")
	if err := dbfile.WriteInstance(path, instance); err != nil {
		return err
	}
	_, err = Upload(ctx, client, path, nil)
	return err
}

// localState is the state of a data directory: an instance and its newest log row.
type localState struct {
	instance string
	seq      uint64
}

// remoteState is the state of a replica: the index that it names (empty: none), its LTX files and the newest of them.
type remoteState struct {
	instance string
	files    []restore.File
	newest   restore.File
}

func readRemote(
	ctx context.Context, clients *config.Pool, client litestream.ReplicaClient,
) (r remoteState, err error) {
	r.instance, err = restore.InstanceOf(ctx, clients)
	if err != nil {
		return r, err
	}
	r.files, err = restore.ListFiles(ctx, client)
	r.newest = newestFile(r.files)
	return r, err
}

// comparison is the result of compare.
type comparison struct {
	empty bool           // the replica has no LTX files
	fresh bool           // this disk has no LTX files for the replica
	torn  bool           // the newest LTX file for the replica is damaged on this disk
	files []restore.File // of the replica
}

// compare compares a local database with the replica. It returns a ForeignError when the two do not belong together.
// last is the lease: it states whether this data directory was the last to write there; nil: unknown.
func compare(
	ctx context.Context, c config.Config, clients *config.Pool, local localState, last *found,
) (comparison, error) {
	var result comparison
	client, err := clients.Client("")
	if err != nil {
		return result, err
	}
	defer clients.Release(client)
	remote, err := readRemote(ctx, clients, client)
	if err != nil {
		return result, err
	}
	result.files = remote.files
	newest := remote.newest
	stream := litestream.NewDB(c.DB)
	pos, err := result.readPosition(stream, last)
	if err != nil {
		return result, err
	}
	foreign := &ForeignError{Where: c.Where(), Theirs: remote.instance, Ours: local.instance, OurSeq: local.seq,
		Remote: newest.Max, Local: pos.TXID}
	// The data directory that wrote last may have lost its LTX files: then the manifest in the replica decides.
	lacks := pos.TXID == 0 || last != nil && last.mine && newest.Max > pos.TXID
	if newest.Max > 0 && (lacks || remote.instance == "") {
		// If files are gone, and among them the file that names the index, the newest file shows below to which index
		// the replica belongs.
		picked, err := restore.Chain(result.files, restore.Target{})
		switch {
		case err == nil:
			err = foreign.readTheirs(ctx, client, picked)
			if err != nil {
				return result, err
			}
		case last != nil && last.mine && last.Instance == local.instance:
			return result, nil // the replicator uploads the missing files again
		case lacks:
			return result, fmt.Errorf("replica: %w", err)
		}
	}
	switch {
	case foreign.Theirs != "" && foreign.Theirs != local.instance:
		foreign.Why = "belongs to another index"
	case newest.Max == 0:
		result.empty = true
		return result, nil
	case lacks && foreign.TheirSeq <= local.seq:
		return result, nil // restored from there, perhaps with later writes
	case lacks, newest.Max > pos.TXID:
		foreign.Why = "is ahead of this data directory"
	default:
		same, err := sameNewest(ctx, client, newest, stream.LTXPath(0, newest.Min, newest.Max), last)
		if err != nil || same {
			return result, err
		}
		foreign.Why = "has a different transaction of that number than this data directory: two processes have " +
			"written to it"
	}
	return result, foreign
}

// readPosition returns the transaction of the newest LTX file on this disk, and sets torn and fresh. A damaged file is
// no error if this data directory has the lease: Litestream continues from the replica's newest file.
func (c *comparison) readPosition(stream *litestream.DB, last *found) (ltx.Pos, error) {
	pos, err := stream.Pos()
	if err != nil && last != nil && last.mine {
		pos = ltx.Pos{}
		err = nil
		c.torn = true
	}
	if err != nil {
		return pos, fmt.Errorf("replica: read the replication position (if weft is not running, remove %s: weft then "+
			"uploads the whole database): %w", stream.MetaPath(), err)
	}
	c.fresh = pos.TXID == 0
	return pos, nil
}

// readTheirs sets Theirs and TheirSeq from the manifest in a chain of files.
func (e *ForeignError) readTheirs(ctx context.Context, client litestream.ReplicaClient, chain []restore.File) error {
	m, _, err := restore.ReadRemoteManifest(ctx, client, chain)
	if err != nil {
		return err
	}
	e.Theirs = m.Instance
	e.TheirSeq = m.LastSeq
	return nil
}

// newestFile returns the file that ends last, of the lowest level that has it.
func newestFile(files []restore.File) (newest restore.File) {
	for _, f := range files {
		if f.Max > newest.Max {
			newest = f
		}
	}
	return newest
}

// sameNewest reports whether the newest file of the replica is the local file at path. If another process has had the
// lease, the local file must exist: the other process may have continued from any transaction.
func sameNewest(
	ctx context.Context, client litestream.ReplicaClient, newest restore.File, path string, last *found,
) (bool, error) {
	same, err := sameFile(ctx, client, newest, path)
	if err != nil {
		return false, err
	}
	if last != nil && !last.mine {
		_, missing := os.Stat(path)
		same = same && newest.Level == 0 && missing == nil
	}
	return same, nil
}

// sameFile reports whether a file of the replica is the local one; true without a local one.
func sameFile(ctx context.Context, client litestream.ReplicaClient, info restore.File, path string) (bool, error) {
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
	if stat.Size() != info.Bytes || info.Bytes < ltx.TrailerSize {
		return false, nil
	}
	var sum [ltx.ChecksumSize]byte
	if _, err := ours.ReadAt(sum[:], info.Bytes-ltx.ChecksumSize); err != nil {
		return false, fmt.Errorf("replica: %w", err)
	}
	return endsWith(ctx, client, info, sum[:])
}

// endsWith reports whether a file of the replica ends with a checksum, which covers the whole file.
func endsWith(ctx context.Context, client litestream.ReplicaClient, info restore.File, sum []byte) (bool, error) {
	end, err := client.OpenLTXFile(ctx, info.Level, info.Min, info.Max, info.Bytes-ltx.ChecksumSize, ltx.ChecksumSize)
	if err != nil {
		return false, fmt.Errorf("replica: read the newest file of the replica: %w", err)
	}
	defer func() { _ = end.Close() }()
	theirs := make([]byte, ltx.ChecksumSize)
	if _, err := io.ReadFull(end, theirs); err != nil {
		return false, fmt.Errorf("replica: read the newest file of the replica: %w", err)
	}
	return bytes.Equal(theirs, sum), nil
}
