package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"strconv"
	"time"

	"weft.dev/weft/api/budget"
	"weft.dev/weft/api/routes"
	"weft.dev/weft/api/stream"
	"weft.dev/weft/api/wire"
	"weft.dev/weft/db"
)

// heartbeatInterval is the time between two heartbeats of a stream without events. The idle timeout of most proxies is
// a minute.
const heartbeatInterval = 20 * time.Second

// subscribeEvents serves /events.
func (s *server) subscribeEvents(w http.ResponseWriter, r *http.Request) {
	release := s.admitStream(w, r)
	if release == nil {
		return
	}
	defer release()
	p := parseQuery(routes.Events, r.URL.RawQuery)
	hydrate := p.flag("hydrate")
	accounts := p.flag("accounts")
	var options stream.Options
	filter := p.options(&options)
	// A browser that reconnects sends the same URL, with its cursor in a header.
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		options.Cursor = p.streamCursor("Last-Event-ID", last)
	}
	if p.err != nil {
		writeFailure(w, r, s.failureOf(r.Context(), r, p.err))
		return
	}
	sub, err := s.subscribe(r.Context(), s.clients.Of(r), options)
	if err != nil {
		writeFailure(w, r, s.failureOf(r.Context(), r, err))
		return
	}
	defer sub.leave()
	s.metrics.subscribers.WithLabelValues("events").Inc()
	defer s.metrics.subscribers.WithLabelValues("events").Dec()
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", cacheNever)
	h.Set("X-Accel-Buffering", "no") // or nginx buffers the stream
	accounts = accounts || filter.Names()
	writer := &eventWriter{server: s, sub: sub, hydrate: hydrate, accounts: accounts, send: sender(w)}
	s.metrics.closed(s.writeEvents(r, writer))
}

// writeEvents writes events until an error ends the stream, and returns the reason of the end for the metrics.
func (s *server) writeEvents(r *http.Request, writer *eventWriter) (reason string) {
	send := writer.send
	err := writer.run(r.Context())
	if f := streamFailure(err); f != nil {
		data, _ := json.Marshal(wire.StreamEnd{Kind: "end", Failure: f.Failure}) // of strings
		_ = send([]byte("event: end\ndata: " + string(data) + "\n\n"))           // the client may have left
		return f.Name
	}
	var unsent *unsentError
	if !errors.As(err, &unsent) {
		if r.Context().Err() == nil {
			s.Logger.Error("stream failed", "path", r.URL.Path, "err", err)
		}
		return "Gone"
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return "ConsumerTooSlow"
	}
	return "Gone"
}

// sender returns a function that writes to a client and fails after writeWait.
func sender(w http.ResponseWriter) func([]byte) error {
	out := http.NewResponseController(w)
	return func(b []byte) error {
		err := out.SetWriteDeadline(time.Now().Add(writeWait))
		if err != nil && !errors.Is(err, http.ErrNotSupported) {
			return err
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
		return out.Flush()
	}
}

// unsentError is an error of the connection to the client.
type unsentError struct{ error }

func (e *unsentError) Unwrap() error { return e.error }

// eventWriter writes the events of a subscriber. Its buffer counts against the memory of the client.
type eventWriter struct {
	server   *server
	sub      *subscriber
	hydrate  bool
	accounts bool // the client wants changes of accounts
	send     func([]byte) error

	buf    []byte
	grant  *budget.Grant
	wanted []int
}

const (
	// eventsBytes is the size up to which events are sent together.
	eventsBytes = 32 << 10
	// hydratedBytes is the memory to encode the content of one record: 1 MB, and six times that as JSON of control
	// characters.
	hydratedBytes = 8 << 20
)

// run writes events until an error ends the stream.
func (e *eventWriter) run(ctx context.Context) error {
	e.buf = appendCursorEvent(nil, e.sub.Subscription) // so that a client knows at once that it is subscribed
	if err := e.flush(); err != nil {
		return err
	}
	for {
		events, err := e.sub.Next(ctx, heartbeatInterval)
		if err != nil {
			return err
		}
		if events == nil {
			e.buf = appendCursorEvent(e.buf, e.sub.Subscription)
		}
		for _, event := range events {
			if err := e.event(ctx, event); err != nil {
				return err
			}
		}
		if err := e.flush(); err != nil {
			return err
		}
	}
}

// event writes an event if the subscriber wants it.
func (e *eventWriter) event(ctx context.Context, event *stream.Event) error {
	var account bool
	e.wanted, account = e.sub.Wanted(event, e.wanted[:0])
	account = account && e.accounts
	contentOnly := false
	if len(e.wanted) == 0 && !account {
		var err error
		contentOnly, err = e.wantsContent(ctx, event)
		if err != nil || !contentOnly {
			return err
		}
	}
	hydrate := e.hydrate && !account && event.Op != db.OpDelete
	if err := e.reserve(ctx, event, hydrate); err != nil {
		return err
	}
	var content wire.Content
	if hydrate {
		contents, err := e.server.contents(ctx, []db.Record{recordOf(event)}, maxContents)
		if err != nil {
			e.grant.Give()
			return err
		}
		content = contents[0]
	}
	if contentOnly && content.Value == nil {
		e.release()
		return nil
	}
	e.buf = appendEvent(e.buf, event, e.wanted, content, e.sub.Replay(event.Seq))
	e.server.metrics.frames.Inc()
	if len(e.buf) >= eventsBytes {
		e.grant.Shrink(int64(len(e.buf)))
		return e.flush()
	}
	e.release()
	return nil
}

// wantsContent reports whether the subscriber wants an event only for the new content of its record: an update that
// leaves every wanted link of the record as it is.
func (e *eventWriter) wantsContent(ctx context.Context, event *stream.Event) (bool, error) {
	if !e.hydrate || event.Op != db.OpUpdate {
		return false, nil
	}
	return e.sub.WantsAny(event, func() ([]db.Link, error) {
		return e.server.Store.RecordLinks(ctx, recordOf(event))
	})
}

func recordOf(event *stream.Event) db.Record {
	return db.Record{DID: event.DID, Collection: event.Collection, Rkey: event.Rkey}
}

// reserve reserves the memory of a large event, and sends earlier events first, so that the buffer does not hold two
// large events.
func (e *eventWriter) reserve(ctx context.Context, event *stream.Event, hydrate bool) error {
	size := int64(event.Size())
	if !hydrate && size <= smallBytes {
		return nil
	}
	if err := e.flush(); err != nil {
		return err
	}
	if hydrate {
		size += hydratedBytes
	}
	grant, err := e.server.memory.Take(ctx, e.sub.who, size)
	e.grant = grant
	return err
}

func (e *eventWriter) release() {
	e.grant.Give()
	e.grant = nil
}

// flush sends the buffer. An idle subscriber keeps no memory for it.
func (e *eventWriter) flush() error {
	defer e.release()
	if len(e.buf) == 0 {
		return nil
	}
	err := e.send(e.buf)
	e.buf = e.buf[:0]
	if cap(e.buf) > 4<<10 {
		e.buf = nil
	}
	if err != nil {
		return &unsentError{err}
	}
	return nil
}

// appendCursorEvent appends an event with a cursor and without data. A browser stores its id and dispatches no event.
// So a client that reconnects before its first event loses nothing, and a client with a narrow filter need not read the
// log again.
func appendCursorEvent(dst []byte, sub *stream.Subscription) []byte {
	dst = append(dst, "id: "...)
	dst = strconv.AppendUint(dst, sub.Cursor(), 10)
	return append(dst, "\n\n"...)
}
