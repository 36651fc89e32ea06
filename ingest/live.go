package ingest

import (
	"bytes"
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
	// maxFrame bounds a frame, compressed or not. A record has 1 MB at most, and JSON makes up to 14 MB of it, for an empty
	// byte string is one byte and {"$bytes":""} as an element. 32 MiB are what Jetstream's own client takes.
	maxFrame = 32 << 20
	// keepFrame is how much memory is kept for the next frame: frames have some kilobytes.
	keepFrame = 1 << 20
	// dialTimeout is what a connection may take: a server that is further away than this is none.
	dialTimeout = 15 * time.Second
)

var (
	errTooOld   = errors.New("the live stream does not reach back to the cursor")
	errNotThere = errors.New("no Jetstream server answers there")
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
	data []byte        // the frame as it came
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
	conn.SetReadLimit(-1) // read has a limit of its own, and goes on behind what is larger
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

var errFrameSize = fmt.Errorf("%w: it has more than %d bytes", errNoEvent, maxFrame)

// read reads the next frame; it is valid until the next call. One that is too large is passed over, and is errFrameSize.
func (l *live) read(ctx context.Context) (binary bool, data []byte, err error) {
	typ, r, err := l.conn.Reader(ctx)
	if err != nil {
		return false, nil, fmt.Errorf("read: %w", err)
	}
	buf := bytes.NewBuffer(forNext(l.data))
	n, err := buf.ReadFrom(io.LimitReader(r, maxFrame+1))
	l.data = buf.Bytes()
	if err == nil && n > maxFrame {
		l.data = nil
		if _, err = io.Copy(io.Discard, r); err == nil {
			return false, nil, errFrameSize
		}
	}
	if err != nil {
		return false, nil, fmt.Errorf("read: %w", err)
	}
	return typ == websocket.MessageBinary, l.data, nil
}

// forNext returns a buffer without its content, or none when it has grown too large to keep.
func forNext(buf []byte) []byte {
	if cap(buf) > keepFrame {
		return nil
	}
	return buf[:0]
}

// next reads the next event; what it points to is valid until the next call. A frame that is none is errNoEvent, one of a
// kind of the future errSkip; any other error ends the stream.
func (l *live) next(ctx context.Context, e *event) error {
	compressed, data, err := l.read(ctx)
	if err != nil {
		return err
	}
	if compressed {
		if l.zstd == nil {
			return errNoEvent
		}
		l.text, err = l.zstd.DecodeAll(data, forNext(l.text))
		if err != nil {
			return fmt.Errorf("%w: %w", errNoEvent, err)
		}
		data = l.text
	}
	if l.kind == kindV1 {
		return e.readV1(data)
	}
	return e.readV2(data)
}
