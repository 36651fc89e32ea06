package replica

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/benbjohnson/litestream"
	"github.com/superfly/ltx"

	"weft.dev/weft/db/replica/restore"
)

// markGone notes that uploaded files are gone: no upload counts as durable any more, and the next one sends all again.
func (r *Replicator) markGone(gone *GoneError) {
	r.mu.Lock()
	p := &r.state
	p.gone = gone
	p.remote = 0
	p.durable = 0
	if p.cut.txid > 0 {
		p.cuts = []cutMark{{txid: p.cut.txid, seq: p.cut.seq, since: r.cfg.Now(), n: int64(p.cut.txid)}}
	}
	r.mu.Unlock()
	r.failed("replica", gone)
}

func (r *Replicator) goneErr() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state.gone == nil {
		return nil
	}
	return r.state.gone
}

// isHole reports whether an upload failed because a pending LTX file is missing on this disk.
func isHole(err error) bool {
	var file *litestream.LTXError
	return errors.As(err, &file) && file.Level == 0 && errors.Is(err, fs.ErrNotExist)
}

// resend makes the replica restorable up to the newest LTX file again, when an uploaded file is gone from the replica,
// or a file to upload is gone from this disk, which is a hole. It uploads the segments first, as always.
func (r *Replicator) resend(ctx context.Context, hole bool) error {
	if err := r.confirmLease(ctx); err != nil {
		return err
	}
	if err := claim(ctx, r.clients, r.index.Instance()); err != nil {
		return err
	}
	lost, err := r.missingSegments(ctx)
	if err != nil {
		return err
	}
	if err := r.queue.requeue(lost, r.index.SegmentPaths()); err != nil {
		return err
	}
	if err := r.queue.uploadAll(ctx); err != nil {
		return err
	}
	files, err := r.listNames(ctx)
	if err != nil {
		return err
	}
	leading := files
	if hole {
		leading = withoutNewSnapshots(files)
	}
	_, reach := restore.ChainFrom(leading, restore.Target{}, 0)
	pos, err := r.local.Pos()
	if err != nil {
		return fmt.Errorf("replica: %w", err)
	}
	r.mu.Lock()
	sent := r.state.resent
	r.mu.Unlock()
	if sent == 0 && (reach < pos.TXID || newestCut(files) < pos.TXID) {
		if reach < pos.TXID {
			sent, err = r.closeGap(ctx, reach)
		} else {
			sent, err = pos.TXID, r.sendBehind(ctx, pos.TXID)
		}
		if err != nil {
			return fmt.Errorf("replica: upload again what is missing: %w", err)
		}
		files, err = r.listNames(ctx)
		if err != nil {
			return err
		}
		_, reach = restore.ChainFrom(files, restore.Target{}, 0)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state.resent = sent
	if reach < sent { // a further upload would have the same result
		return fmt.Errorf("replica: the new upload is not listed: the files end at transaction %s, but %s was uploaded",
			reach, sent)
	}
	r.state.gone = nil
	r.state.resent = 0
	return nil
}

// withoutNewSnapshots leaves out the snapshots that are newer than all of level 0. A snapshot that was made after the
// loss of an LTX file leads past the hole, and the uploads would stop before the hole until the next sync.
func withoutNewSnapshots(files []restore.File) []restore.File {
	newest := newestCut(files)
	return slices.DeleteFunc(slices.Clone(files), func(f restore.File) bool {
		return f.Level == restore.SnapshotLevel && f.Max > newest
	})
}

// newestCut returns the newest transaction of level 0; 0: the level is empty.
func newestCut(files []restore.File) ltx.TXID {
	newest := ltx.TXID(0)
	for _, f := range files {
		if f.Level == 0 {
			newest = max(newest, f.Max)
		}
	}
	return newest
}

// closeGap leads from transaction reach to the newest LTX file, with a copy of the whole database if necessary. It
// returns the newest transaction.
//
// Where level 1 ends no later than reach, closeGap sends the LTX files again if they are on this disk. If they are not,
// it sends one file of level 0 with all of these transactions: the levels have no gap then, and compactions continue.
// Where level 1 ends later, closeGap sends a snapshot, and the newest LTX file behind it, so that a later start finds
// its position.
func (r *Replicator) closeGap(ctx context.Context, reach ltx.TXID) (to ltx.TXID, err error) {
	merged, err := r.local.MaxLTXFileInfo(ctx, 1) // as Litestream's compactions know it
	if err != nil {
		return 0, err
	}
	bridged := reach > 0 && merged.MaxTXID <= reach
	if bridged && r.haveCuts(reach+1) {
		r.local.Replica.SetPos(ltx.Pos{TXID: reach})
		if err := r.local.Replica.Sync(ctx); err != nil {
			return 0, err
		}
		return r.local.Replica.Pos().TXID, nil
	}
	if bridged {
		to, err = r.bridge(ctx, reach+1)
	} else if info, e := r.local.Snapshot(ctx); e != nil {
		err = e
	} else {
		to = info.MaxTXID
	}
	if err != nil {
		return 0, err
	}
	if err := r.removeStranded(ctx, reach, to, merged.MaxTXID, bridged); err != nil {
		return 0, err
	}
	if bridged {
		r.local.Replica.SetPos(ltx.Pos{TXID: to})
		return to, nil
	}
	return to, r.sendBehind(ctx, to)
}

// sendBehind sends LTX files again up to transaction to, which the replica's other levels reach: all that level 0
// lacks, or the newest one alone.
func (r *Replicator) sendBehind(ctx context.Context, to ltx.TXID) error {
	behind, err := r.behindSnapshot(ctx, to)
	if err != nil {
		return err
	}
	r.local.Replica.SetPos(ltx.Pos{TXID: behind})
	return r.local.Replica.Sync(ctx)
}

// behindSnapshot returns the transaction after which LTX files are sent again behind a snapshot up to transaction to:
// the newest transaction of level 0, if the files after it are on this disk. A file that was written since the last
// upload is in the snapshot, and level 0 would lack it: compaction and validation then stop at the hole.
func (r *Replicator) behindSnapshot(ctx context.Context, to ltx.TXID) (ltx.TXID, error) {
	files, err := r.listNames(ctx)
	if err != nil {
		return 0, err
	}
	newest := newestCut(files)
	if newest == 0 || newest >= to || !r.haveCuts(newest+1) {
		return to - 1, nil
	}
	return newest, nil
}

// haveCuts reports whether all LTX files from a transaction on are on this disk, so that they can be sent again.
func (r *Replicator) haveCuts(from ltx.TXID) bool {
	pos, err := r.local.Pos()
	if err != nil {
		return false
	}
	for at := from; at <= pos.TXID; at++ {
		if _, err := os.Stat(r.local.LTXPath(0, at, at)); err != nil {
			return false
		}
	}
	return true
}

// bridge writes a file of level 0 with the transactions from min to the newest LTX file. It holds the whole database as
// of that transaction. bridge returns the newest transaction.
func (r *Replicator) bridge(ctx context.Context, min ltx.TXID) (ltx.TXID, error) {
	pos, snapshot, err := r.local.SnapshotReader(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { _ = snapshot.Close() }()
	in, out := io.Pipe()
	renamed := make(chan struct{})
	go func() {
		defer close(renamed)
		out.CloseWithError(rename(out, snapshot, min))
	}()
	_, err = r.local.Replica.Client.WriteLTXFile(ctx, 0, min, pos.TXID, in)
	_ = in.CloseWithError(err)
	<-renamed
	return pos.TXID, err
}

// rename copies a snapshot as a file that begins with another transaction.
func rename(w io.Writer, snapshot io.Reader, min ltx.TXID) error {
	enc, err := ltx.NewEncoder(w)
	if err != nil {
		return err
	}
	err = restore.ReadLTX(snapshot, restore.ReadBuffer, func(h ltx.Header) error {
		h.MinTXID = min
		return enc.EncodeHeader(h)
	}, func(number uint32, data []byte) error {
		return enc.EncodePage(ltx.PageHeader{Pgno: number}, data)
	})
	if err != nil {
		return err
	}
	return enc.Close()
}

// removeStranded removes the files of level 0 behind a gap that compactions could not pass: no restore can use them.
// Behind a snapshot it keeps them if they continue level 1 without a gap.
func (r *Replicator) removeStranded(ctx context.Context, reach, to, merged ltx.TXID, bridged bool) error {
	files, err := r.listNames(ctx)
	if err != nil {
		return err
	}
	var stranded []*ltx.FileInfo
	slices.SortFunc(files, func(a, b restore.File) int { return cmp.Compare(a.Min, b.Min) })
	gap := bridged
	for _, f := range files {
		if f.Level != 0 {
			continue
		}
		if f.Max > merged {
			gap = gap || merged > 0 && f.Min > merged+1
			merged = f.Max
		}
		if f.Min > reach+1 && f.Max <= to {
			stranded = append(stranded, f.Info())
		}
	}
	if len(stranded) == 0 || !gap {
		return nil
	}
	return r.local.Replica.Client.DeleteLTXFiles(ctx, stranded)
}

// requeue queues sent segments that the replica lacks; paths are those of the index.
func (d *uploadQueue) requeue(lost, paths []string) error {
	for _, name := range lost {
		if err := os.Remove(d.path("sent", name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("replica: %w", err)
		}
		for _, path := range paths {
			if filepath.Base(path) != name {
				continue
			}
			// a compaction may just have replaced it
			if err := d.add(path, true); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

// drop empties the queue: the replica will not get these segments.
func (d *uploadQueue) drop() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, o := range d.pending {
		if o.busy {
			continue
		}
		if err := os.Remove(d.path("pending", name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("replica: %w", err)
		}
		delete(d.pending, name)
	}
	return nil
}
