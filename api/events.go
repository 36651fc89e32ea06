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

// sseBeat is how often a stream with nothing to say shows that it is there: below the idle limit of a proxy, which is mostly a
// minute.
const sseBeat = 20 * time.Second

// subscribeEvents serves /events.
func (s *server) subscribeEvents(w http.ResponseWriter, r *http.Request) {
	release := s.admitStream(w, r)
	if release == nil {
		return
	}
	defer release()
	p := parseQuery(routes.Events, r.URL.RawQuery)
	hydrate := p.flag("hydrate")
	var options stream.Options
	p.options(&options)
	// A browser that comes back sends the same address again, and where it was in a header.
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
	h.Set("X-Accel-Buffering", "no") // what nginx needs to be told
	s.metrics.closed(s.writeEvents(w, r, sub, hydrate))
}

// writeEvents writes until something ends it, and returns what, for the metrics.
func (s *server) writeEvents(w http.ResponseWriter, r *http.Request, sub *subscriber, hydrate bool) (reason string) {
	out := http.NewResponseController(w)
	send := func(b []byte) error {
		if err := out.SetWriteDeadline(time.Now().Add(writeWait)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return err
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
		return out.Flush()
	}
	writer := &eventWriter{server: s, sub: sub, hydrate: hydrate, send: send}
	err := writer.run(r.Context())
	if f := streamFailure(err); f != nil {
		data, _ := json.Marshal(wire.StreamEnd{Kind: "end", Failure: f.Failure})
		_ = send([]byte("event: end\ndata: " + string(data) + "\n\n"))
		return f.Name
	}
	var unsent *unsentError
	switch {
	case errors.As(err, &unsent) && errors.Is(err, os.ErrDeadlineExceeded):
		return "ConsumerTooSlow"
	case !errors.As(err, &unsent) && r.Context().Err() == nil:
		s.Logger.Error("stream failed", "path", r.URL.Path, "err", err)
	}
	return "Gone"
}

// unsentError is an error of the client's connection.
type unsentError struct{ error }

func (e *unsentError) Unwrap() error { return e.error }

// eventWriter writes the events of a subscriber. What it keeps before it is sent counts against the memory of its client.
type eventWriter struct {
	server  *server
	sub     *subscriber
	hydrate bool
	send    func([]byte) error

	buf    []byte
	room   *budget.Grant
	wanted []int
}

const (
	// Events are sent together up to this size.
	eventsBytes = 32 << 10
	// The room for the content of one record while it is made: 1 MB, and six times that as JSON of control characters.
	hydratedBytes = 8 << 20
)

// run writes until something ends it.
func (e *eventWriter) run(ctx context.Context) error {
	e.buf = appendPlace(nil, e.sub.Subscription) // so that a client sees at once that it is in
	if err := e.flush(); err != nil {
		return err
	}
	for {
		events, err := e.sub.Next(ctx, sseBeat)
		if err != nil {
			return err
		}
		if events == nil {
			e.buf = appendPlace(e.buf, e.sub.Subscription)
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

// event writes an event, if it is wanted.
func (e *eventWriter) event(ctx context.Context, event *stream.Event) error {
	var account bool
	e.wanted, account = e.sub.Wanted(event, e.wanted[:0])
	s := e.server
	// An update is wanted too that leaves every wanted link of its record as it is: the content is new.
	update := e.hydrate && event.Op == db.OpUpdate && len(e.wanted) == 0 && !account
	if update {
		var err error
		update, err = e.sub.WantsAny(event, func() ([]db.Link, error) {
			return s.Store.RecordLinks(ctx, db.Record{DID: event.DID, Collection: event.Collection, Rkey: event.Rkey})
		})
		if err != nil {
			return err
		}
	}
	if !account && len(e.wanted) == 0 && !update {
		return nil
	}
	hydrate := e.hydrate && !account && event.Op != db.OpDelete
	if size := event.Size(); hydrate || size > smallBytes {
		if err := e.flush(); err != nil {
			return err
		}
		if hydrate {
			size += hydratedBytes
		}
		var err error
		if e.room, err = s.memory.Take(ctx, e.sub.who, int64(size)); err != nil {
			return err
		}
	}
	var one wire.Content
	if hydrate {
		contents, err := s.contents(ctx, []db.Record{{DID: event.DID, Collection: event.Collection, Rkey: event.Rkey}}, maxContents)
		if err != nil {
			e.room.Give()
			return err
		}
		one = contents[0]
	}
	if update && one.Value == nil { // there is nothing to show of it
		e.room.Give()
		e.room = nil
		return nil
	}
	e.buf = appendEvent(e.buf, event, e.wanted, one, e.sub.Replay(event.Seq))
	s.metrics.frames.Inc()
	switch {
	case len(e.buf) >= eventsBytes:
		e.room.Shrink(int64(len(e.buf)))
		return e.flush()
	default:
		e.room.Give()
		e.room = nil
	}
	return nil
}

// flush sends what there is. An idle subscriber keeps no memory for it.
func (e *eventWriter) flush() error {
	defer func() {
		e.room.Give()
		e.room = nil
	}()
	if len(e.buf) == 0 {
		return nil
	}
	err := e.send(e.buf)
	if e.buf = e.buf[:0]; cap(e.buf) > 4<<10 {
		e.buf = nil
	}
	if err != nil {
		return &unsentError{err}
	}
	return nil
}

// appendPlace says where the stream is: an event without data, of which a browser tells nobody and keeps the id. So a client
// loses nothing that comes before its first event, and one that wants little needn't go through all again.
func appendPlace(dst []byte, sub *stream.Subscription) []byte {
	dst = append(dst, "id: "...)
	dst = strconv.AppendUint(dst, sub.Cursor(), 10)
	return append(dst, "\n\n"...)
}
