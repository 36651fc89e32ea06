package upstream

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"testing"

	"weft.dev/weft/db"
)

// oracleFrame reads a frame with encoding/json, whose names of members ignore case: by maps, which don't.
func oracleFrame(kind string, text []byte) (any, error) {
	if kind == KindV1 {
		var f frameV1
		m, err := membersOf(text)
		err = errors.Join(err, m.read("did", &f.did), m.read("kind", &f.kind), m.read("time_us", &f.timeUS),
			m.read("cursor", &f.cursor))
		if m.has("commit") {
			c, errCommit := membersOf(m["commit"])
			f.commit = new(commit)
			err = errors.Join(err, errCommit, c.commit(f.commit))
		}
		var errAccount error
		f.account, errAccount = m.account()
		return f, errors.Join(err, errAccount)
	}
	var f frameV2
	m, err := membersOf(text)
	err = errors.Join(err, m.read("$type", &f.typ), m.read("error", &f.err), m.read("message", &f.message))
	if !m.has("payload") {
		return f, err
	}
	p, errPayload := membersOf(m["payload"])
	err = errors.Join(err, errPayload, p.read("$type", &f.payload.typ), p.read("did", &f.payload.did),
		p.read("time", &f.payload.time), p.read("seq", &f.payload.seq), p.commit(&f.payload.commit))
	if p.has("sync") {
		s, errSync := membersOf(p["sync"])
		f.payload.syncRev = new(string)
		err = errors.Join(err, errSync, s.read("rev", f.payload.syncRev))
	}
	var errAccount error
	f.payload.account, errAccount = p.account()
	return f, errors.Join(err, errAccount)
}

// members are the members of an object; the last one of a name counts.
type members map[string]json.RawMessage

func membersOf(text []byte) (m members, err error) {
	err = json.Unmarshal(text, &m)
	if err == nil && m == nil {
		err = errors.New("null")
	}
	return m, err
}

func (m members) has(key string) bool { return m[key] != nil && string(m[key]) != "null" }

func (m members) read(key string, into any) error {
	if m[key] == nil {
		return nil
	}
	return json.Unmarshal(m[key], into)
}

func (m members) commit(c *commit) error {
	c.record = m["record"]
	return errors.Join(m.read("rev", &c.rev), m.read("operation", &c.operation), m.read("collection", &c.collection),
		m.read("rkey", &c.rkey), m.read("cid", &c.cid))
}

func (m members) account() (*account, error) {
	if !m.has("account") {
		return nil, nil
	}
	a, err := membersOf(m["account"])
	into := new(account)
	return into, errors.Join(err, a.read("active", &into.active), a.read("status", &into.status))
}

// FuzzFrameEqualsEncodingJSON: frames are read as encoding/json reads them, unless a member is there twice: then the
// values of both may count.
func FuzzFrameEqualsEncodingJSON(f *testing.F) {
	for _, text := range []string{
		`{"did":"did:web:a","time_us":1,"kind":"commit","commit":{"operation":"create","rkey":"a\u00e9","record":{"a":[1]}}}`,
		`{"$type":"message","payload":{"$type":"t#commit","seq":1,"did":"d","time":"2026-07-01T00:00:00Z","record":null}}`,
		`{"$type":"message","payload":{"account":{"active":true,"status":"x"},"sync":{"rev":"3k"},"cid":null}}`,
		`{"payload":{"account":{"active":1}}}`, `{"payload":null}`, `{"seq":-1,"payload":{"seq":-1}}`, `{"time_us":1.5}`,
		`{"commit":[],"account":""}`, `{"DID":"a","did":"\ud800\ud83d\ude00` + "\xff\xfe" + `"}`,
		`{"cursor":18446744073709551616}`,
		`null`, `[]`, `{} x`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if bytes.Count(text, []byte("["))+bytes.Count(text, []byte("{")) > 9999 {
			t.Skip("encoding/json gives up at 10000 levels")
		}
		for _, kind := range []string{KindV1, KindV2} {
			want, wantErr := oracleFrame(kind, text)
			var got any
			var err error
			if kind == KindV1 {
				var f frameV1
				err = readFrame(text, f.read)
				got = f
			} else {
				var f frameV2
				err = readFrame(text, f.read)
				got = f
			}
			if repeats(text) {
				continue
			}
			if (err == nil) != (wantErr == nil) || err == nil && !reflect.DeepEqual(got, want) {
				t.Errorf("%s: %q:\n%+v, %v\n%+v, %v", kind, text, got, err, want, wantErr)
			}
		}
	})
}

// repeats reports whether an object of a valid text has a member twice.
func repeats(text []byte) bool {
	type level struct {
		keys   map[string]bool // nil: an array
		expect bool            // a key comes next
	}
	var levels []level
	dec := json.NewDecoder(bytes.NewReader(text))
	for {
		token, err := dec.Token()
		if err != nil {
			return false
		}
		top := len(levels) - 1
		switch d, _ := token.(json.Delim); {
		case d == '}' || d == ']':
			levels = levels[:top]
			continue
		case top >= 0 && levels[top].expect:
			key, _ := token.(string)
			if levels[top].keys[key] {
				return true
			}
			levels[top].keys[key] = true
			levels[top].expect = false
			continue
		case top >= 0 && levels[top].keys != nil:
			levels[top].expect = true
		}
		switch d, _ := token.(json.Delim); d {
		case '{':
			levels = append(levels, level{map[string]bool{}, true})
		case '[':
			levels = append(levels, level{})
		}
	}
}

// BenchmarkFrame measures a frame of 800 bytes, with encoding/json for comparison.
func BenchmarkFrame(b *testing.B) {
	text := []byte(`{"$type":"message","payload":{"$type":"network.bsky.jetstream.subscribeEvents#commit",` +
		`"seq":123456789,"did":"did:plc:abcdefghijklmnopqrstuvwx","time":"2026-07-01T00:00:00.123456Z","rev":"3kabcdefghijk",` +
		`"operation":"create","collection":"app.bsky.feed.post","rkey":"3kabcdefghijk",` +
		`"cid":"bafyreiabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz","record":{"$type":"app.bsky.feed.post",` +
		`"text":"` + string(bytes.Repeat([]byte("words and words "), 10)) + `","langs":["en"],"reply":{"root":{"uri":` +
		`"at://did:plc:abcdefghijklmnopqrstuvwx/app.bsky.feed.post/3kabcdefghijk"},"parent":{"uri":` +
		`"at://did:plc:abcdefghijklmnopqrstuvwx/app.bsky.feed.post/3kabcdefghijk"}},"createdAt":"2026-07-01T00:00:00Z"}}}`)
	b.Run("ours", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var e Event
			if err := e.ReadFrame(KindV2, text); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encoding-json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var f struct {
				Type    string `json:"$type"`
				Payload struct {
					Type       string          `json:"$type"`
					Seq        uint64          `json:"seq"`
					DID        string          `json:"did"`
					Time       string          `json:"time"`
					Rev        string          `json:"rev"`
					Operation  string          `json:"operation"`
					Collection string          `json:"collection"`
					Rkey       string          `json:"rkey"`
					Record     json.RawMessage `json:"record"`
					CID        string          `json:"cid"`
				} `json:"payload"`
			}
			if err := json.Unmarshal(text, &f); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// TestAccountStatus: an account that is not active is hidden, whatever its status says.
func TestAccountStatus(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		account account
		want    db.Status
	}{
		{account{active: true, status: "takendown"}, db.StatusActive},
		{account{status: "deleted"}, db.StatusDeleted},
		{account{status: "takendown"}, db.StatusTakendown},
		{account{status: "throttled"}, db.StatusInactive},
		{account{status: "active"}, db.StatusInactive},
		{account{}, db.StatusInactive},
	} {
		if got := tc.account.known(); got != tc.want {
			t.Errorf("%+v is %s, want %s", tc.account, got, tc.want)
		}
	}
}
