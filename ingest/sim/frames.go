package sim

import (
	"encoding/base64"
	"strconv"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"

	"weft.dev/weft/ingest/upstream/dictionary"
)

// wire is one of the four encodings of events.
type wire uint8

const (
	wireV2     wire = iota // xrpc.v1.json, text
	wireV2Zstd             // the same in a zstd frame, binary
	wireV1                 // legacy JSON, text
	wireV1Zstd             // the same in a zstd frame, binary
	wires
)

func (w wire) zstd() bool { return w == wireV2Zstd || w == wireV1Zstd }
func (w wire) v1() bool   { return w == wireV1 || w == wireV1Zstd }

// entry is an event in the log with its frames. Each frame is encoded for the first subscriber that needs it, and
// shared by all.
type entry struct {
	Event
	mu     sync.Mutex
	frames [wires][]byte
}

// codec encodes frames.
type codec struct {
	v1, v2   *zstd.Encoder
	noCursor bool // omit "cursor" from v1 frames, as pure v1 servers do
}

func newCodec(noCursor bool) (*codec, error) {
	v1, err := frameEncoder(dictionary.V1)
	if err != nil {
		return nil, err
	}
	v2, err := frameEncoder(v2Dictionary)
	if err != nil {
		return nil, err
	}
	return &codec{v1: v1, v2: v2, noCursor: noCursor}, nil
}

// frame returns the event on the wire w, and the size of its JSON.
func (c *codec) frame(e *entry, w wire) (frame []byte, jsonSize int, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	plain := wireV2
	if w.v1() {
		plain = wireV1
	}
	if e.frames[plain] == nil {
		b := make([]byte, 0, 320+2*len(e.CBOR))
		if plain == wireV1 {
			b, err = appendV1(b, &e.Event, c.noCursor)
		} else {
			b, err = appendV2(b, &e.Event)
		}
		if err != nil {
			return nil, 0, err
		}
		e.frames[plain] = b
	}
	if e.frames[w] == nil {
		e.frames[w] = c.compress(e.frames[plain], w)
	}
	return e.frames[w], len(e.frames[plain]), nil
}

// compress returns a frame for the wire w from its text.
func (c *codec) compress(text []byte, w wire) []byte {
	switch w {
	case wireV1Zstd:
		return c.v1.EncodeAll(text, nil)
	case wireV2Zstd:
		return c.v2.EncodeAll(text, nil)
	}
	return text
}

// v2Types is the NSID before the "#" in the type of every v2 message.
const v2Types = "network.bsky.jetstream.subscribeEvents"

// appendV2 writes an event as a message frame of xrpc.v1.json.
func appendV2(b []byte, e *Event) ([]byte, error) {
	b = append(b, `{"$type":"message","payload":{"$type":"`+v2Types+`#`...)
	b = append(b, e.Kind...)
	b = append(b, `","seq":`...)
	b = strconv.AppendUint(b, e.Seq, 10)
	b = appendField(b, "did", e.DID)
	b = append(b, `,"time":"`...)
	// Exactly six digits, so that a client can compute the time cursor in µs from it.
	b = time.UnixMicro(e.TimeUS).UTC().AppendFormat(b, "2006-01-02T15:04:05.000000Z")
	b = append(b, '"')
	var err error
	switch e.Kind {
	case KindCommit:
		b, err = appendCommit(append(b, ','), e)
	case KindAccount:
		b = appendAccount(b, e)
	case KindIdentity:
		b = appendIdentity(b, e)
	case KindSync:
		b = append(b, `,"sync":{"did":"`...)
		b = append(b, e.DID...)
		b = append(b, `","blocks":{"$bytes":"`...)
		b = base64.RawStdEncoding.AppendEncode(b, syncBlocks)
		b = append(b, `"}`...)
		b = appendField(b, "rev", e.Rev)
		b = appendRelay(b, e)
	}
	return append(b, '}', '}'), err
}

// appendV1 writes an event in the legacy form. Syncs and resync rows have none; the caller omits them.
func appendV1(b []byte, e *Event, noCursor bool) ([]byte, error) {
	b = append(b, `{"did":"`...)
	b = append(b, e.DID...)
	b = append(b, `","time_us":`...)
	b = strconv.AppendInt(b, e.TimeUS, 10)
	if !noCursor {
		b = append(b, `,"cursor":`...)
		b = strconv.AppendUint(b, e.Seq, 10)
	}
	b = appendField(b, "kind", string(e.Kind))
	var err error
	switch e.Kind {
	case KindCommit:
		b, err = appendCommit(append(b, `,"commit":{`...), e)
		b = append(b, '}')
	case KindAccount:
		b = appendAccount(b, e)
	case KindIdentity:
		b = appendIdentity(b, e)
	}
	return append(b, '}'), err
}

func appendCommit(b []byte, e *Event) ([]byte, error) {
	b = append(b, `"rev":"`...)
	b = append(b, e.Rev...)
	b = append(b, '"')
	b = appendField(b, "operation", e.Operation)
	b = appendField(b, "collection", e.Collection)
	b = appendField(b, "rkey", e.Rkey)
	if e.Operation == OpDelete {
		return b, nil
	}
	var err error
	b, err = appendRecordJSON(append(b, `,"record":`...), e.CBOR)
	if err != nil {
		return b, err
	}
	return appendField(b, "cid", e.CID), nil
}

func appendAccount(b []byte, e *Event) []byte {
	b = append(b, `,"account":{"active":`...)
	b = strconv.AppendBool(b, e.Active)
	b = appendField(b, "did", e.DID)
	if e.Status != "" {
		b = appendField(b, "status", e.Status)
	}
	return appendRelay(b, e)
}

func appendIdentity(b []byte, e *Event) []byte {
	b = append(b, `,"identity":{"did":"`...)
	b = append(b, e.DID...)
	b = append(b, '"')
	if e.Handle != "" {
		b = appendField(b, "handle", e.Handle)
	}
	return appendRelay(b, e)
}

// appendRelay ends an object that wraps a relay's event.
func appendRelay(b []byte, e *Event) []byte {
	b = append(b, `,"seq":`...)
	b = strconv.AppendInt(b, e.relaySeq(), 10)
	b = append(b, `,"time":"`...)
	b = e.relayTime(b)
	return append(b, `"}`...)
}

// appendField writes a member whose value needs no escapes: a DID, a key, a CID.
func appendField(b []byte, key, value string) []byte {
	b = append(b, ',', '"')
	b = append(b, key...)
	b = append(b, '"', ':', '"')
	b = append(b, value...)
	return append(b, '"')
}
