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

// Kinds of upstream, by the wire that they speak best.
const (
	KindV2 = "v2" // archive, resyncs, positions are sequence numbers
	KindV1 = "v1" // neither of them; positions are times in microseconds
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
	ErrTooOld   = errors.New("the live stream does not reach back to the cursor")
	errNotThere = errors.New("no Jetstream server answers there")
)

// Live is a live stream.
type Live struct {
	conn *websocket.Conn
	kind string
	zstd *zstd.Decoder // nil: frames are text
	data []byte        // the frame as it came
	text []byte
}

// Dial opens a live stream at a cursor: a sequence number, or a time in microseconds; 0 is the tip.
func Dial(ctx context.Context, e Endpoint, kind string, dict []byte, cursor uint64, f Filter) (*Live, error) {
	q := url.Values{}
	if cursor > 0 {
		q.Set("cursor", strconv.FormatUint(cursor, 10))
	}
	l, path := &Live{kind: kind}, ""
	opts := &websocket.DialOptions{CompressionMode: websocket.CompressionDisabled, HTTPHeader: http.Header{}}
	e.authorize(opts.HTTPHeader)
	f = f.ForLive()
	if kind == KindV1 {
		path, dict = pathV1, dictionary.V1
		q["wantedCollections"], q["wantedDids"] = f.Collections, f.DIDs
		q.Set("compress", "true")
	} else {
		path, opts.Subprotocols = pathV2, []string{"xrpc.v1.json"}
		q["collections"], q["dids"] = f.Collections, f.DIDs
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
	u := "ws" + strings.TrimPrefix(e.URL, "http") + path + "?" + q.Encode()
	conn, res, err := websocket.Dial(ctx, u, opts)
	if err != nil {
		l.Close()
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
		return fmt.Errorf("%w: %s", ErrTooOld, said.Message)
	case res.StatusCode == http.StatusNotFound:
		return errNotThere
	case said.Error != "":
		return &StreamError{said.Error, said.Message}
	}
	return refused(res)
}

func (l *Live) Close() {
	if l.zstd != nil {
		l.zstd.Close()
	}
	if l.conn != nil {
		_ = l.conn.CloseNow() // nobody waits for a goodbye
	}
}

// Ping waits for the answer to a ping. Another goroutine must be in Next meanwhile, or the answer isn't read.
func (l *Live) Ping(ctx context.Context) error { return l.conn.Ping(ctx) }

var errFrameSize = fmt.Errorf("%w: it has more than %d bytes", ErrNoEvent, maxFrame)

// read reads the next frame; it is valid until the next call. One that is too large is passed over, and is errFrameSize.
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

// Next reads the next event; what it points to is valid until the next call. A frame that is none is errNoEvent, one of a
// kind of the future errSkip; any other error ends the stream.
func (l *Live) Next(ctx context.Context, e *Event) error {
	compressed, data, err := l.read(ctx)
	if err != nil {
		return err
	}
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
	return e.ReadFrame(l.kind, data)
}
