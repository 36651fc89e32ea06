package upstream

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

	"weft.dev/weft/ingest/upstream/dictionary"
)

// Kinds of upstream, by the newest protocol that they speak.
const (
	KindV2 = "v2" // with archive and resyncs; positions are sequence numbers
	KindV1 = "v1" // without both; positions are times in microseconds
)

const (
	// maxFrame bounds a frame, compressed or not. A record of 1 MB takes up to 14 MB as JSON: an empty byte string is
	// one byte, and {"$bytes":""} as an element. Jetstream's own client allows 32 MiB.
	maxFrame = 32 << 20
	// keepFrame bounds the memory that is kept for the next frame. Frames have some kilobytes.
	keepFrame = 1 << 20
	// dialTimeout bounds a connection and the answer to a small request.
	dialTimeout = 15 * time.Second
)

var (
	ErrTooOld   = errors.New("the live stream does not reach back to the cursor")
	errNotThere = errors.New("no Jetstream server answers there")
)

// Live is a live stream. One goroutine calls Next.
type Live struct {
	conn *websocket.Conn
	kind string
	zstd *zstd.Decoder // nil: frames are text
	data []byte        // the frame as received
	text []byte        // decompressed
	pace pace
}

// Dial opens a live stream at a cursor: a sequence number, or a time in microseconds since 1970; 0 is the tip. dict is
// the zstd dictionary of a v2 server; nil: frames are text.
func Dial(ctx context.Context, e Endpoint, kind string, dict []byte, cursor uint64, f Filter) (*Live, error) {
	l := &Live{kind: kind}
	q := url.Values{}
	if cursor > 0 {
		q.Set("cursor", strconv.FormatUint(cursor, 10))
	}
	opts := &websocket.DialOptions{CompressionMode: websocket.CompressionDisabled, HTTPHeader: http.Header{},
		HTTPClient: e.client()}
	e.authorize(opts.HTTPHeader)
	f = f.ForLive()
	path := pathV2
	if kind == KindV1 {
		path = pathV1
		dict = dictionary.V1
		q["wantedCollections"] = f.Collections
		q["wantedDids"] = f.DIDs
	} else {
		opts.Subprotocols = []string{"xrpc.v1.json"}
		q["collections"] = f.Collections
		q["dids"] = f.DIDs
	}
	l.zstd = newDecoder(dict)
	switch {
	case l.zstd == nil: // without a dictionary that works, frames are text
	case kind == KindV1:
		q.Set("compress", "true")
	case len(dict) >= 8: // a dictionary has its id after the magic number (RFC 8878, section 5)
		q.Set("zstdDictionary", strconv.FormatUint(uint64(binary.LittleEndian.Uint32(dict[4:8])), 10))
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	u := "ws" + strings.TrimPrefix(e.URL, "http") + path + "?" + q.Encode()
	conn, res, err := websocket.Dial(ctx, u, opts)
	if err != nil {
		l.Close()
		return nil, dialError(res, err)
	}
	conn.SetReadLimit(-1) // read has a limit of its own, and skips a larger frame
	l.conn = conn
	return l, nil
}

// newDecoder returns a decoder with a dictionary, or nil if there is none or it is malformed.
func newDecoder(dict []byte) *zstd.Decoder {
	if len(dict) == 0 {
		return nil
	}
	d, err := zstd.NewReader(nil, zstd.WithDecoderDicts(dict), zstd.WithDecoderConcurrency(1),
		zstd.WithDecoderMaxMemory(maxFrame))
	if err != nil {
		return nil
	}
	return d
}

// dialError returns the reason for a refused upgrade.
func dialError(res *http.Response, err error) error {
	if res == nil || res.StatusCode == http.StatusSwitchingProtocols {
		return err
	}
	var answer struct{ Error, Message string }
	if res.Body != nil {
		body, _ := io.ReadAll(io.LimitReader(res.Body, 1024)) // the websocket client keeps as much
		_ = json.Unmarshal(body, &answer)
	}
	switch {
	case answer.Error == "CursorTooOld":
		return fmt.Errorf("%w: %s", ErrTooOld, answer.Message)
	case res.StatusCode == http.StatusNotFound:
		return errNotThere
	case answer.Error != "":
		return &StreamError{answer.Error, answer.Message}
	}
	return refused(res)
}

func (l *Live) Close() {
	if l.zstd != nil {
		l.zstd.Close()
	}
	if l.conn != nil {
		_ = l.conn.CloseNow() // without the closing handshake
	}
}

// Ping waits for the answer to a ping. Another goroutine must be in Next at the same time: it reads the answer.
func (l *Live) Ping(ctx context.Context) error { return l.conn.Ping(ctx) }

var errFrameSize = fmt.Errorf("%w: it has more than %d bytes", ErrNoEvent, maxFrame)

// read reads the next frame, which is valid until the next call. It skips a frame that is too large, and returns
// errFrameSize.
func (l *Live) read(ctx context.Context) (binary bool, data []byte, err error) {
	typ, r, err := l.conn.Reader(ctx)
	if err != nil {
		return false, nil, fmt.Errorf("read: %w", err)
	}
	buf := bytes.NewBuffer(forNext(l.data))
	n, err := buf.ReadFrom(io.LimitReader(r, maxFrame+1))
	l.data = buf.Bytes()
	if err == nil && n > maxFrame {
		l.data = nil
		_, err = io.Copy(io.Discard, r)
		if err == nil {
			return false, nil, errFrameSize
		}
	}
	if err != nil {
		return false, nil, fmt.Errorf("read: %w", err)
	}
	return typ == websocket.MessageBinary, l.data, nil
}

// forNext returns an emptied buffer, or nil if it has grown too large to keep.
func forNext(buf []byte) []byte {
	if cap(buf) > keepFrame {
		return nil
	}
	return buf[:0]
}

// Pauses reports whether Next pauses before it reads: all frames that have come are read.
func (l *Live) Pauses() bool { return l.pace.due }

// Next reads the next event, whose text is valid until the next call. ErrNoEvent is a frame without a readable event,
// and ErrSkip a frame of an unknown kind. Any other error ends the stream.
func (l *Live) Next(ctx context.Context, e *Event) error {
	err := l.pace.pause(ctx)
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	began := time.Now()
	compressed, data, err := l.read(ctx)
	if err != nil {
		return err
	}
	took := time.Since(began)
	if compressed {
		if l.zstd == nil {
			return ErrNoEvent
		}
		l.text, err = l.zstd.DecodeAll(data, forNext(l.text))
		if err != nil {
			return fmt.Errorf("%w: %w", ErrNoEvent, err)
		}
		data = l.text
	}
	err = e.ReadFrame(l.kind, data)
	if err == nil {
		l.pace.read(took, time.Since(time.UnixMicro(e.TimeUS)))
	}
	return err
}
