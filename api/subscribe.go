package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"

	"weft.dev/weft/api/lexicons"
	"weft.dev/weft/api/routes"
	"weft.dev/weft/api/stream"
	"weft.dev/weft/api/wire"
)

const (
	// pingEvery and the wait for a pong limit the time that a half-open connection stays.
	pingEvery = 30 * time.Second
	pongWait  = 20 * time.Second
	// writeWait is the time after which a client that reads nothing is disconnected.
	writeWait = 10 * time.Second
	// maxMessage is in bytes: ten thousand DIDs are 320 kB; fifty thousand at-uris of posts are 4 MB.
	maxMessage = 5 << 20
	// messageWait limits the time until a message has arrived, with the wait for its memory.
	messageWait = 30 * time.Second
	// smallMessage is the size in bytes below which a message, of some 50 names, is read at once.
	smallMessage = 4 << 10
	// messageBurst is the number of messages and pings of a client at once; then one a second. Filters change only when
	// a person acts.
	messageBurst = 20
	// corkBytes is the size of frames that are gathered for one write.
	corkBytes = 32 << 10
)

// subscribeWebSocket serves /subscribe. It reads nothing from the index before the client is admitted and has its
// WebSocket.
func (s *server) subscribeWebSocket(w http.ResponseWriter, r *http.Request) {
	p := parseQuery(routes.Subscribe, r.URL.RawQuery)
	instant := p.flag("instant")
	accounts := p.flag("accounts")
	options := stream.Options{Hold: !instant}
	_ = p.options(&options)
	if p.err != nil {
		writeFailure(w, r, s.failureOf(r.Context(), r, p.err))
		return
	}
	if !upgrades(r) {
		w.Header().Set("Upgrade", "websocket")
		writeFailure(w, r, newFailure(http.StatusUpgradeRequired, "UpgradeRequired",
			"this path is a WebSocket: connect with ws:// or wss://, or use "+routes.Events.Path+" over plain HTTP"))
		return
	}
	release := s.admitStream(w, r)
	if release == nil {
		return
	}
	defer release()
	cork := &corkedWriter{ResponseWriter: w}
	// Compression would need a window of memory for each subscriber, and most of the CPU time at a thousand of them.
	conn, err := websocket.Accept(cork, r,
		&websocket.AcceptOptions{InsecureSkipVerify: true, CompressionMode: websocket.CompressionDisabled,
			OnPingReceived: func(context.Context, []byte) bool { return cork.conn.Load().pinged() }})
	if err != nil {
		return // Accept has answered
	}
	defer func() { _ = conn.CloseNow() }()
	c := &socket{Conn: conn, cork: cork.conn.Load(), accounts: accounts}
	s.metrics.subscribers.WithLabelValues("websocket").Inc()
	defer s.metrics.subscribers.WithLabelValues("websocket").Dec()
	c.sub, err = s.subscribe(r.Context(), s.clients.Of(r), options)
	if err != nil {
		// A browser does not expose the answer to a refused upgrade, so the WebSocket sends the reason.
		f := s.failureOf(r.Context(), r, err)
		s.metrics.closed(f.Name)
		c.end(f)
		return
	}
	defer c.sub.leave()
	s.metrics.closed(c.serve(s))
}

// upgrades reports whether a request asks for a WebSocket.
func upgrades(r *http.Request) bool { return r.Header.Get("Sec-WebSocket-Key") != "" }

// socket is a subscriber's WebSocket.
type socket struct {
	*websocket.Conn
	cork     *corkedConn
	sub      *subscriber
	accounts bool
}

// serve writes events until an error ends the stream, and returns the reason of the end for the metrics.
func (c *socket) serve(s *server) (reason string) {
	ctx, cancel := context.WithCancelCause(context.Background())
	c.SetReadLimit(maxMessage)
	c.cork.flooded = func() {
		cancel(&closing{websocket.StatusPolicyViolation, "too many pings: the limit is one per second"})
	}
	var others sync.WaitGroup
	others.Go(func() { cancel(c.read(ctx, s)) })
	others.Go(func() { cancel(c.heartbeat(ctx)) })
	defer func() {
		cancel(nil)
		_ = c.CloseNow()
		others.Wait()
	}()

	err := c.write(ctx, s)
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	var bad *closing
	var f *failure
	if !errors.As(err, &f) {
		f = streamFailure(err)
	}
	if f != nil {
		c.end(f)
		return f.Name
	} else if errors.As(err, &bad) {
		c.close(bad.code, bad.reason)
		return "BadMessage"
	}
	switch {
	case errors.Is(err, errStalled):
		return "ConsumerTooSlow"
	case errors.Is(err, errHalfOpen):
		return "HalfOpen"
	}
	return "Gone"
}

var (
	errHalfOpen = errors.New("the peer answers no ping")
	errStalled  = errors.New("the peer takes nothing")
)

// closing is the reason for a close frame.
type closing struct {
	code   websocket.StatusCode
	reason string
}

func (c *closing) Error() string { return c.reason }

// end sends a failure and closes.
func (c *socket) end(f *failure) {
	frame, _ := json.Marshal(wire.StreamEnd{Kind: "error", Failure: f.Failure})
	_ = c.Write(context.Background(), websocket.MessageText, frame)
	_ = c.cork.flush()
	code := websocket.StatusPolicyViolation
	if f.Name == "ShuttingDown" {
		code = websocket.StatusGoingAway
	}
	c.close(code, closeReason(f.Name+": "+f.Message))
}

// close sends the reason in a close frame, and waits for the peer's, within limits.
func (c *socket) close(code websocket.StatusCode, reason string) {
	c.cork.closing()
	_ = c.Close(code, reason)
}

// heartbeat pings until ctx ends or the peer doesn't answer.
func (c *socket) heartbeat(ctx context.Context) error {
	for every := time.NewTicker(pingEvery); ; {
		select {
		case <-ctx.Done():
			every.Stop()
			return nil
		case <-every.C:
		}
		ctx, stop := context.WithTimeout(ctx, pongWait)
		err := c.Ping(ctx)
		stop()
		if err != nil {
			return errHalfOpen
		}
	}
}

// write writes events until the subscription or the connection ends.
func (c *socket) write(ctx context.Context, s *server) error {
	var frame []byte
	var wanted []int
	for {
		events, err := c.sub.Next(ctx, time.Hour)
		if err != nil {
			return err
		}
		c.cork.hold()
		for _, e := range events {
			var account bool
			wanted, account = c.sub.Wanted(e, wanted[:0])
			if account && c.accounts {
				frame = appendAccountFrame(frame[:0], e, c.sub.Replay(e.Seq))
				if err := c.Write(context.Background(), websocket.MessageText, frame); err != nil {
					return c.cork.why(err)
				}
				s.metrics.frames.Inc()
			}
			for n, i := range wanted {
				frame = appendLink(frame[:0], e, &e.Links[i], c.sub.Replay(e.Seq), n < len(wanted)-1)
				if err := c.Write(context.Background(), websocket.MessageText, frame); err != nil {
					return c.cork.why(err)
				}
				s.metrics.frames.Inc()
			}
		}
		if err := c.cork.flush(); err != nil {
			return c.cork.why(err)
		}
		if cap(frame) > 4<<10 {
			frame = nil
		}
	}
}

// read reads messages until an error, which it returns.
func (c *socket) read(ctx context.Context, s *server) error {
	for {
		// No deadline: it would close the connection before the client gets the reason.
		kind, r, err := c.Reader(context.Background())
		if err != nil {
			return err
		}
		if err := c.message(ctx, s, kind, r); err != nil {
			c.passOver(r)
			return err
		}
	}
}

// message handles a message.
func (c *socket) message(ctx context.Context, s *server, kind websocket.MessageType, r io.Reader) error {
	if !c.cork.allow() {
		return &closing{websocket.StatusPolicyViolation, "too many messages: the limit is one per second"}
	}
	if kind != websocket.MessageText {
		return &closing{websocket.StatusUnsupportedData, "send text messages only: options_update as JSON"}
	}
	return c.update(ctx, s, r)
}

// passOver reads the rest of a refused message, within closeWait: the close frame of the peer follows it.
func (c *socket) passOver(r io.Reader) {
	_ = c.cork.SetReadDeadline(time.Now().Add(closeWait))
	_, _ = io.Copy(io.Discard, r)
}

// update reads a message and replaces the filter. A long message waits for memory first.
func (c *socket) update(ctx context.Context, s *server, r io.Reader) error {
	ctx, cancel := context.WithTimeout(ctx, messageWait)
	defer cancel()
	late := context.AfterFunc(ctx, func() { _ = c.CloseNow() })
	defer late()
	begin := make([]byte, smallMessage)
	n, err := io.ReadFull(r, begin)
	message := io.Reader(bytes.NewReader(begin[:n]))
	switch {
	case err == nil:
		room, err := s.memory.Take(ctx, c.sub.who, 2*maxMessage) // for its names and for the filter made of them
		if err != nil {
			return s.failureOf(ctx, &http.Request{URL: &url.URL{Path: routes.Subscribe.Path}}, err)
		}
		defer room.Give()
		message = io.MultiReader(message, r)
	case !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
		return err
	}
	filter, err := readUpdate(message)
	if err != nil {
		return err // coder/websocket has answered a message that is too big
	}
	if f := c.sub.want(&s.limits, filter.Match()); f != nil {
		return f
	}
	return nil
}

// readUpdate reads a client's message. A closing is an error of the message; any other error is one of r.
func readUpdate(r io.Reader) (stream.Filter, error) {
	bad := func(code websocket.StatusCode, format string, args ...any) (stream.Filter, error) {
		return stream.Filter{}, &closing{code, closeReason(fmt.Sprintf(format, args...))}
	}
	v, err := definitions.Read(r, &lexicons.Schema{Type: "ref", Ref: "dev.weft.stream.defs#update"})
	var problem *lexicons.Problem
	var syntax *json.SyntaxError
	switch {
	case err == nil:
	case errors.As(err, &problem):
		return bad(websocket.StatusPolicyViolation, "%v", problem)
	case errors.Is(err, lexicons.ErrNotUTF8):
		return bad(websocket.StatusInvalidFramePayloadData, "not UTF-8")
	case errors.As(err, &syntax), errors.Is(err, lexicons.ErrSyntax):
		return bad(websocket.StatusInvalidFramePayloadData, "not JSON: %v", err)
	default:
		return stream.Filter{}, err
	}
	// The reader of the query's parameters checks the names.
	message, _ := v.(map[string]any)
	payload, _ := message["payload"].(map[string]any)
	p := &params{def: definitions.At(routes.Subscribe.Path), given: map[string][]string{}}
	for name := range payload {
		p.input = payload
		p.given[name] = p.texts(name)
		delete(payload, name) // the list is not needed any more
	}
	filter := p.streamFilter()
	if p.err != nil {
		return bad(websocket.StatusPolicyViolation, "%v", p.err)
	}
	return filter, nil
}

// closeReason truncates a text to the 123 bytes of a close frame.
func closeReason(text string) string {
	for len(text) > 123 || !utf8.ValidString(text) {
		text = text[:min(len(text), 124)-1]
	}
	return text
}

// tokenBucket refills by one token a second, up to messageBurst.
type tokenBucket struct{ at atomic.Int64 } // when it was full, in nanoseconds since 1970

// allow takes a token. It returns false if there is none.
func (a *tokenBucket) allow() bool {
	now := time.Now().UnixNano()
	full := max(a.at.Load(), now-messageBurst*int64(time.Second))
	a.at.Store(full + int64(time.Second))
	return full+int64(time.Second) <= now
}
