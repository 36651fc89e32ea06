package main

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"weft.dev/weft/api/wire"
)

const (
	// faultsKept is the number of different faults on /status: more than people read.
	faultsKept = 20
	// detailBytes limits the text of an error on /status. It suffices to find the error in the log output, which has
	// all of it.
	detailBytes = 300
)

// faults keeps the newest warnings and errors of the log for /status: the message and the attributes err and do. It
// drops other attributes, because they may name clients.
type faults struct {
	now func() time.Time

	mu   sync.Mutex
	kept []fault // the newest last
}

type fault struct {
	wire.Fault
	first, last time.Time
}

// recent returns the faults for /status, newest first.
func (f *faults) recent() []wire.Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([]wire.Fault, 0, len(f.kept))
	for _, k := range slices.Backward(f.kept) {
		k.First = k.first.UTC().Format(time.RFC3339)
		k.Last = k.last.UTC().Format(time.RFC3339)
		out = append(out, k.Fault)
	}
	return out
}

func (f *faults) add(r slog.Record) {
	now := f.now()
	k := fault{Fault: wire.Fault{Level: "warn", Message: r.Message}, first: now, last: now}
	if r.Level >= slog.LevelError {
		k.Level = "error"
	}
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "err":
			k.Detail = clip(fmt.Sprint(a.Value.Any()))
		case "do":
			k.Do = a.Value.String()
		}
		return true
	})
	f.mu.Lock()
	defer f.mu.Unlock()
	if i := slices.IndexFunc(f.kept, func(o fault) bool { return o.Message == k.Message && o.Level == k.Level }); i >= 0 {
		k.Count = f.kept[i].Count
		k.first = f.kept[i].first
		f.kept = slices.Delete(f.kept, i, i+1)
	} else if len(f.kept) == faultsKept {
		f.kept = slices.Delete(f.kept, 0, 1)
	}
	k.Count++
	f.kept = append(f.kept, k)
}

// clip shortens a text at a character boundary.
func clip(text string) string {
	if len(text) <= detailBytes {
		return text
	}
	cut := detailBytes
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}

// handler returns a handler that records faults and passes all enabled records to next. It records faults below the
// level of next, too.
func (f *faults) handler(next slog.Handler) slog.Handler { return faultHandler{next, f} }

type faultHandler struct {
	next   slog.Handler
	faults *faults
}

func (h faultHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn || h.next.Enabled(ctx, level)
}

func (h faultHandler) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelWarn {
		h.faults.add(r)
	}
	if !h.next.Enabled(ctx, r.Level) {
		return nil
	}
	return h.next.Handle(ctx, r)
}

func (h faultHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return faultHandler{h.next.WithAttrs(attrs), h.faults}
}

func (h faultHandler) WithGroup(name string) slog.Handler {
	return faultHandler{h.next.WithGroup(name), h.faults}
}
