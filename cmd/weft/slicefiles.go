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
	"weft.dev/weft/humanize"
	"weft.dev/weft/ingest"
	"weft.dev/weft/ingest/upstream"
)

// sliceFiles are the files that --dids and --subjects read, which may change while weft runs.
type sliceFiles struct {
	names          []string
	dids, subjects bool // lists that files are part of
	read           func() (ingest.SliceConfig, *ingest.Slice, error)
	hangups        <-chan os.Signal // nil: none
	every          time.Duration    // between two looks at the files; 0: filesEvery
}

const (
	// filesEvery is how often weft looks at the files. A file whose size or time changes is read at the next look at which
	// they stay, so that a file that is being written is read when it is whole.
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

// explain reports whether the lists that files are part of are all that two slices differ in. A list that begins or
// ceases to choose is another kind of slice: that takes --change-slice.
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

// fileChange returns how the index follows a changed file: it purges, and backfills where an archive holds no more than
// what needs --yes.
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
		w.logger.Warn("no archive for what the slice has more: it is complete from now on", "err", err,
			"do", "restart weft once with --change-slice now+backfill when an upstream has an archive")
	case p.Bytes > w.backfillLimit() && !w.yes:
		w.logger.Warn("what the slice has more is complete from now on: the archive is large", "host", p.Host,
			"bytes", humanize.Bytes(p.Bytes), "events", p.Events,
			"do", "restart weft once with --change-slice now+backfill to read it")
	default:
		c.backfill = p.Segments > 0
	}
	return c
}

// runIngest runs ingest until ctx ends, and begins it anew when a file changes the slice. Its error is the store's.
func (w *writer) runIngest(ctx context.Context) error {
	stamp := "" // a file may have changed since the start read it
	for {
		run, stop := context.WithCancel(ctx)
		var changed *sliceChoice
		var watch sync.WaitGroup
		watch.Go(func() {
			defer logPanic(w.logger, "slice")
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

// sliceChoice is a slice as the flags and the files choose it.
type sliceChoice struct {
	config ingest.SliceConfig
	filter *ingest.Slice
}

// awaitChange waits until the files choose another slice, or a purge that lacked room can go on; nil: ctx has ended
// first. stamp is that of the files as they were read last. Meanwhile it notes backfills that are complete.
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
			w.logger.Info("read the files of the slice: they change nothing")
		}
	}
}

// readFiles returns the slice that the files choose; nil: the slice that the index has, or a file can't be read.
func (w *writer) readFiles() *sliceChoice {
	c, filter, err := w.files.read()
	if err != nil {
		w.logger.Error("the slice stays as it is: a file of it can't be read", "err", err,
			"do", "correct the file; weft reads it again when it changes")
		return nil
	}
	_, more, less := ingest.SliceState{Slice: w.slice}.Change(c, time.Now())
	if !more && !less {
		return nil
	}
	return &sliceChoice{c, filter}
}

// applyChoice brings the index to another slice, while no ingest runs. Its error is the store's, or that of ctx.
func (w *writer) applyChoice(ctx context.Context, choice *sliceChoice) error {
	before := sliceChoice{w.slice, w.filter}
	w.slice = choice.config
	w.filter = choice.filter
	err := w.applySlice(ctx)
	if ctx.Err() != nil || errors.Is(err, db.ErrFailed) {
		return err
	}
	if err != nil {
		w.logger.Error("the slice stays as it is", "err", err, "do", "correct the file; weft reads it again when it changes")
		w.slice = before.config
		w.filter = before.filter
		return nil
	}
	w.ingest.SetSlice(w.filter)
	return nil
}

// noteBackfills notes in the state which backfills of the slice are complete.
func (w *writer) noteBackfills(ctx context.Context) {
	s := *w.sliceState.Load()
	if len(s.Backfill) == 0 {
		return
	}
	gaps, err := w.store.AllGaps(ctx)
	if err != nil {
		return // the next look reads them again
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
