package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/urfave/cli/v3"

	"weft.dev/weft/db"
	"weft.dev/weft/db/panics"
	"weft.dev/weft/humanize"
	"weft.dev/weft/ingest"
	"weft.dev/weft/ingest/upstream"
)

// sliceFiles are the files that --dids and --subjects read, which may change while weft runs.
type sliceFiles struct {
	names          []string
	dids, subjects bool // the lists that read files
	read           func() (ingest.SliceConfig, *ingest.Slice, error)
	hangups        <-chan os.Signal // nil: none
	every          time.Duration    // interval between checks of the files; 0: filesEvery
}

const (
	// filesEvery is the interval between two checks of the files. A changed file is read when its size and time are the
	// same in two checks, so that weft doesn't read a half-written file.
	filesEvery = 2 * time.Second
	// planTimeout bounds the wait for an archive's list.
	planTimeout = 30 * time.Second
)

func sliceFilesOf(cmd *cli.Command, upstreams []upstream.Address) sliceFiles {
	f := sliceFiles{read: func() (ingest.SliceConfig, *ingest.Slice, error) { return sliceOf(cmd, upstreams) }}
	isFile := func(entry string) bool { return strings.HasPrefix(entry, "@") }
	f.dids = slices.ContainsFunc(cmd.StringSlice("dids"), isFile)
	f.subjects = slices.ContainsFunc(cmd.StringSlice("subjects"), isFile)
	for _, entry := range slices.Concat(cmd.StringSlice("dids"), cmd.StringSlice("subjects")) {
		if isFile(entry) {
			f.names = append(f.names, entry[1:])
		}
	}
	if len(f.names) > 0 {
		hangups := make(chan os.Signal, 1)
		signal.Notify(hangups, syscall.SIGHUP)
		f.hangups = hangups
	}
	return f
}

// explain reports whether two slices differ only in lists that files are part of. A list that becomes empty or
// non-empty is a different kind of slice, which needs --change-slice.
func (f *sliceFiles) explain(was, is ingest.SliceConfig) bool {
	isChange := func(a, b []string) bool { return len(a) > 0 && len(b) > 0 }
	if f.dids && isChange(was.DIDs, is.DIDs) {
		is.DIDs = was.DIDs
	}
	if f.subjects && isChange(was.Subjects, is.Subjects) {
		is.Subjects = was.Subjects
	}
	_, more, less := ingest.SliceState{Slice: was}.Change(is, time.Time{})
	return !more && !less
}

// stamp returns the sizes and times of the files.
func (f *sliceFiles) stamp() string {
	var b strings.Builder
	for _, name := range f.names {
		info, err := os.Stat(name)
		if err != nil {
			fmt.Fprintln(&b, err)
			continue
		}
		fmt.Fprintln(&b, info.Size(), info.ModTime().UnixNano())
	}
	return b.String()
}

// fileChange returns the change for a changed file: a purge, and a backfill if it is small enough to need no --yes.
func (w *writer) fileChange(ctx context.Context, more bool) sliceChange {
	c := sliceChange{allowed: true, purge: true}
	_, _, ok := w.archived()
	if !more || !ok {
		return c
	}
	ctx, cancel := context.WithTimeout(ctx, planTimeout)
	defer cancel()
	p, err := ingest.PlanBackfill(ctx, w.jetstream, w.jetstreamKey, ingest.From{Start: true}, w.filter)
	switch {
	case err != nil:
		w.logger.Warn("no upstream has an archive: the new parts of the slice are complete from now on", "err", err,
			"do", "restart weft once with --change-slice now+backfill when an upstream has an archive")
	case p.Bytes > w.backfillLimit() && !w.yes:
		w.logger.Warn("the archive is too large to read unasked: the new parts of the slice are complete from now on",
			"host", p.Host, "bytes", humanize.Bytes(p.Bytes), "events", p.Events,
			"do", "restart weft once with --change-slice now+backfill to read it")
	default:
		c.backfill = p.Segments > 0
	}
	return c
}

// runIngest runs ingest until ctx ends, and restarts it when a file changes the slice. Its error is the store's.
func (w *writer) runIngest(ctx context.Context) error {
	stamp := "" // a file may have changed since the start read it
	for {
		run, stop := context.WithCancel(ctx)
		var changed *sliceChoice
		var watch sync.WaitGroup
		watch.Go(func() {
			defer panics.Log(w.logger, "slice")
			changed = w.awaitChange(run, &stamp)
			stop()
		})
		err := w.ingest.Run(run)
		stop()
		watch.Wait()
		if err != nil || ctx.Err() != nil || changed == nil {
			return err
		}
		err = w.applyChoice(ctx, changed)
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// sliceChoice is the slice that the flags and the files select.
type sliceChoice struct {
	config ingest.SliceConfig
	filter *ingest.Slice
}

// awaitChange waits until the files select another slice, or until a purge that lacked disk space can continue. It
// returns nil when ctx ends first. stamp is the stamp of the last read files. It also notes completed backfills.
func (w *writer) awaitChange(ctx context.Context, stamp *string) *sliceChoice {
	every := w.files.every
	if every == 0 {
		every = filesEvery
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	settled := *stamp
	for {
		asked := false
		select {
		case <-ctx.Done():
			return nil
		case <-w.files.hangups:
			asked = true
		case <-ticker.C:
		}
		w.noteBackfills(ctx)
		if w.sliceState.Load().Purging && w.store.Paused() == "" {
			return &sliceChoice{w.slice, w.filter}
		}
		now := w.files.stamp()
		isSettled := now == settled
		settled = now
		if !asked && (now == *stamp || !isSettled) {
			continue
		}
		*stamp = now
		changed := w.readFiles()
		if changed != nil {
			return changed
		}
		if asked {
			w.logger.Info("read the files of the slice: no change")
		}
	}
}

// readFiles returns the slice that the files select; nil: it is unchanged, or a file can't be read.
func (w *writer) readFiles() *sliceChoice {
	c, filter, err := w.files.read()
	if err != nil {
		w.logger.Error("the slice is unchanged: one of its files can't be read", "err", err,
			"do", "correct the file; weft reads it again when it changes")
		return nil
	}
	_, more, less := ingest.SliceState{Slice: w.slice}.Change(c, time.Now())
	if !more && !less {
		return nil
	}
	return &sliceChoice{c, filter}
}

// applyChoice changes the index to another slice while ingest is stopped. Its error is the store's, or that of ctx.
func (w *writer) applyChoice(ctx context.Context, choice *sliceChoice) error {
	before := sliceChoice{w.slice, w.filter}
	w.slice = choice.config
	w.filter = choice.filter
	err := w.applySlice(ctx)
	if ctx.Err() != nil || errors.Is(err, db.ErrFailed) {
		return err
	}
	if err != nil {
		w.logger.Error("the slice is unchanged", "err", err, "do", "correct the file; weft reads it again when it changes")
		w.slice = before.config
		w.filter = before.filter
		return nil
	}
	w.ingest.SetSlice(w.filter)
	return nil
}

// noteBackfills records completed backfills of the slice in the state.
func (w *writer) noteBackfills(ctx context.Context) {
	s := *w.sliceState.Load()
	if len(s.Backfill) == 0 {
		return
	}
	gaps, err := w.store.AllGaps(ctx)
	if err != nil {
		return // the next check reads them again
	}
	next := s
	for _, b := range s.Backfill {
		isOpen := func(g db.Gap) bool { return g.Host == b.Host && g.To == b.To && g.State == db.GapOpen }
		if !slices.ContainsFunc(gaps, isOpen) {
			next = next.Backfilled(b)
		}
	}
	if len(next.Backfill) == len(s.Backfill) {
		return
	}
	err = w.storeSlice(next)
	if err != nil {
		w.logger.Error("cannot store that the slice is backfilled", "err", err)
	}
}
