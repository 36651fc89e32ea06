package ingest

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/coder/websocket"
	"github.com/klauspost/compress/zstd"

	"weft.dev/weft/ingest/wire"
)

// Kinds of upstream, by the wire that they speak best.
const (
	kindV2 = "v2" // archive, resyncs, positions are sequence numbers
	kindV1 = "v1" // neither of them; positions are times in microseconds
)

const (
	// maxFrame bounds a frame, compressed or not: the protocol's records have at most 1 MB, and JSON makes more of them.
	maxFrame = 8 << 20
	// dialTimeout is what a connection may take: a server that is further away than this is none.
	dialTimeout = 15 * time.Second
)

var (
	errTooOld   = errors.New("the live stream doesn't reach back to the cursor")
	errNotThere = errors.New("no Jetstream answers there")
)

// retryAfter is an answer that says when to come again.
type retryAfter struct {
	status int
	wait   time.Duration
}

func (e *retryAfter) Error() string {
	return fmt.Sprintf("it answers %d %s", e.status, http.StatusText(e.status))
}

// maxRetryAfter bounds how long an upstream can send us away.
const maxRetryAfter = 15 * time.Minute

// refused makes an error of a status, with the time that a server asks to be left alone for.
func refused(res *http.Response) error {
	e := &retryAfter{status: res.StatusCode}
	if s, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil && s > 0 {
		e.wait = min(time.Duration(s)*time.Second, maxRetryAfter)
	} else if t, err := http.ParseTime(res.Header.Get("Retry-After")); err == nil {
		e.wait = min(max(time.Until(t), 0), maxRetryAfter)
	}
	return e
}

// live is a live stream.
type live struct {
	conn *websocket.Conn
	kind string
	zstd *zstd.Decoder // nil: frames are text
	text []byte
}

// dialLive opens a live stream at a cursor: a sequence number, or a time in microseconds; 0 is the tip.
func dialLive(ctx context.Context, e endpoint, kind string, dict []byte, cursor uint64, s *Slice) (*live, error) {
	q := url.Values{}
	if cursor > 0 {
		q.Set("cursor", strconv.FormatUint(cursor, 10))
	}
	l, path := &live{kind: kind}, ""
	opts := &websocket.DialOptions{CompressionMode: websocket.CompressionDisabled, HTTPHeader: http.Header{}}
	e.authorize(opts.HTTPHeader)
	collections, dids := s.wire(maxURLDIDs)
	if kind == kindV1 {
		path, dict = pathV1, wire.DictionaryV1
		q["wantedCollections"], q["wantedDids"] = collections, dids
		q.Set("compress", "true")
	} else {
		path, opts.Subprotocols = pathV2, []string{"xrpc.v1.json"}
		q["collections"], q["dids"] = collections, dids
		if len(dict) >= 8 { // a structured dictionary has its id behind the magic number (RFC 8878, section 5)
			q.Set("zstdDictionary", strconv.FormatUint(uint64(binary.LittleEndian.Uint32(dict[4:8])), 10))
		}
	}
	if len(dict) > 0 {
		var err error
		if l.zstd, err = zstd.NewReader(nil, zstd.WithDecoderDicts(dict), zstd.WithDecoderConcurrency(1),
			zstd.WithDecoderMaxMemory(maxFrame)); err != nil {
			l.zstd = nil
			q.Del("zstdDictionary") // what can't be used isn't asked for
		}
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	u := "ws" + strings.TrimPrefix(e.url, "http") + path + "?" + q.Encode()
	conn, res, err := websocket.Dial(ctx, u, opts)
	if err != nil {
		l.close()
		return nil, dialError(res, err)
	}
	conn.SetReadLimit(maxFrame)
	l.conn = conn
	return l, nil
}

// dialError says why an upgrade was refused.
func dialError(res *http.Response, err error) error {
	if res == nil || res.StatusCode == http.StatusSwitchingProtocols {
		return err
	}
	var said struct{ Error, Message string }
	if res.Body != nil {
		body, _ := io.ReadAll(io.LimitReader(res.Body, 1024)) // what the client leaves of it
		_ = json.Unmarshal(body, &said)
	}
	switch {
	case said.Error == "CursorTooOld":
		return fmt.Errorf("%w: %s", errTooOld, said.Message)
	case res.StatusCode == http.StatusNotFound:
		return errNotThere
	case said.Error != "":
		return &streamError{said.Error, said.Message}
	}
	return refused(res)
}

func (l *live) close() {
	if l.zstd != nil {
		l.zstd.Close()
	}
	if l.conn != nil {
		_ = l.conn.CloseNow() // nobody waits for a goodbye
	}
}

// next reads the next event. A frame that is none is errNoEvent, one of a kind of the future errSkip; any other error
// ends the stream.
func (l *live) next(ctx context.Context, e *event) error {
	typ, data, err := l.conn.Read(ctx)
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	if typ == websocket.MessageBinary {
		if l.zstd == nil {
			return errNoEvent
		}
		if l.text, err = l.zstd.DecodeAll(data, l.text[:0]); err != nil {
			return fmt.Errorf("%w: %w", errNoEvent, err)
		}
		data = l.text
	}
	if l.kind == kindV1 {
		return e.readV1(data)
	}
	return e.readV2(data)
}
