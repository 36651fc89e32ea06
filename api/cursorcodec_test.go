package api

import (
	"bytes"
	"encoding/base64"
	"errors"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"weft.dev/weft/api/routes"
	"weft.dev/weft/db"
)

var likesQuery = db.ManyQuery{
	ListQuery: db.ListQuery{Target: post, Source: db.Source{Collection: "app.bsky.feed.like", Path: "subject.uri"}},
}

func TestCursorRoundTrip(t *testing.T) {
	t.Parallel()
	c := (&server{}).cursorCodec(routes.GetBacklinks, likesQuery)
	for _, position := range [][]byte{{}, {0}, []byte("3kb1"), bytes.Repeat([]byte{0xff}, maxPosition)} {
		text, err := c.encode(position)
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.decode(*text)
		if err != nil || got == nil || !bytes.Equal(got, position) {
			t.Errorf("position %x came back as %x, %v", position, got, err)
		}
	}
	if text, err := c.encode(nil); text != nil || err != nil {
		t.Errorf("the end has cursor %v, %v", text, err)
	}
	if _, err := c.encode(make([]byte, maxPosition+1)); err == nil {
		t.Error("sealed a position that couldn't be opened again")
	}
}

// TestCursorTampered flips every bit of a cursor's bytes and of its text, truncates it everywhere, and spells it
// differently.
func TestCursorTampered(t *testing.T) {
	t.Parallel()
	c := (&server{}).cursorCodec(routes.GetBacklinks, likesQuery)
	sealed, err := c.encode([]byte("position"))
	if err != nil {
		t.Fatal(err)
	}
	text := *sealed
	refused := func(how, text string) {
		t.Helper()
		if position, err := c.decode(text); !errors.Is(err, errCursor) {
			t.Errorf("%s: %q opened as %q, %v", how, text, position, err)
		}
	}
	flipEach([]byte(text), func(b []byte) { refused("flipped text", string(b)) })
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	flipEach(raw, func(b []byte) { refused("flipped byte", base64.RawURLEncoding.EncodeToString(b)) })
	for n := range len(text) {
		refused("start only", text[:n])
		refused("end only", text[n+1:])
		refused("newline inside", text[:n]+"\n"+text[n:])
	}
	for n := range len(raw) {
		refused("byte left out", base64.RawURLEncoding.EncodeToString(append(raw[:n:n], raw[n+1:]...)))
	}
	refused("padded", base64.URLEncoding.EncodeToString(raw))
	refused("standard alphabet", base64.RawStdEncoding.EncodeToString(bytes.Repeat([]byte{0xff}, 30)))
	refused("twice", text+text)
	refused("leftover bits", leftover(text))
	refused("huge", strings.Repeat(text, 1000))
}

// leftover sets an unused bit of the last base64 character.
func leftover(text string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, text[len(text)-1])
	return text[:len(text)-1] + string(alphabet[last|1])
}

func flipEach(b []byte, f func([]byte)) {
	for i := range b {
		for bit := range 8 {
			flipped := bytes.Clone(b)
			flipped[i] ^= 1 << bit
			f(flipped)
		}
	}
}

// TestCursorBinds changes every field of a query in turn, by reflection, so that new fields are included. Each change
// makes another cursor, except page size, position and what the query may read.
func TestCursorBinds(t *testing.T) {
	t.Parallel()
	s := &server{}
	base := s.cursorCodec(routes.GetBacklinks, likesQuery)
	differs := func(what string, other cursorCodec, want bool) {
		t.Helper()
		if got := !bytes.Equal(base.head, other.head); got != want {
			t.Errorf("%s makes a different cursor: %v, want %v", what, got, want)
		}
	}
	differs("nothing", s.cursorCodec(routes.GetBacklinks, likesQuery), false)
	differs("endpoint", s.cursorCodec(routes.Links, likesQuery), true)
	differs("instance", (&server{Config: Config{InstanceID: "b"}}).cursorCodec(routes.GetBacklinks, likesQuery), true)

	for path, set := range settable(reflect.TypeFor[db.ManyQuery]()) {
		q := likesQuery
		set(reflect.ValueOf(&q).Elem())
		differs(path, s.cursorCodec(routes.GetBacklinks, q), path != "ListQuery.Limit" && path != "ListQuery.After" &&
			path != "ListQuery.Walk")
	}

	// Values whose concatenations are equal.
	a, b := likesQuery, likesQuery
	a.DIDs, b.DIDs = []string{"ab", "c"}, []string{"a", "bc"}
	if bytes.Equal(s.cursorCodec(routes.Links, a).head, s.cursorCodec(routes.Links, b).head) {
		t.Error("ab, c is a, bc")
	}
	a, b = likesQuery, likesQuery
	a.DIDs, b.Subjects = []string{bob}, []string{bob}
	if bytes.Equal(s.cursorCodec(routes.Links, a).head, s.cursorCodec(routes.Links, b).head) {
		t.Error("a filter by linking account is one by subject")
	}
}

// settable returns functions that set each field of a struct, by its path, to a value that differs from the tests'
// query.
func settable(typ reflect.Type) map[string]func(reflect.Value) {
	fields := make(map[string]func(reflect.Value))
	for i := range typ.NumField() {
		f := typ.Field(i)
		switch f.Type.Kind() {
		case reflect.Struct:
			for path, set := range settable(f.Type) {
				fields[f.Name+"."+path] = func(v reflect.Value) { set(v.Field(i)) }
			}
		case reflect.String:
			fields[f.Name] = func(v reflect.Value) { v.Field(i).SetString("other") }
		case reflect.Bool:
			fields[f.Name] = func(v reflect.Value) { v.Field(i).SetBool(true) }
		case reflect.Slice:
			fields[f.Name] = func(v reflect.Value) { v.Field(i).Set(reflect.MakeSlice(f.Type, 1, 1)) }
		default:
			fields[f.Name] = func(v reflect.Value) { v.Field(i).Set(reflect.ValueOf(7).Convert(f.Type)) }
		}
	}
	return fields
}

// TestCursorElsewhere sends a valid cursor with other queries and to other indexes.
func TestCursorElsewhere(t *testing.T) {
	t.Parallel()
	h := serve(Config{})
	const legacy = "collection=app.bsky.feed.like&path=.subject.uri&target=" + post
	home := xrpc("getBacklinks", "subject", post, "source", like, "limit", "1")
	cursor := "&cursor=" + strings.Trim(dig(t, get(t, h, home), "cursor"), `"`)
	get(t, h, home+cursor)
	get(t, h, xrpc("getBacklinks", "subject", post, "source", like, "limit", "2", "reverse", "false", "unknown",
		"x")+cursor)

	for _, c := range []struct {
		name    string
		handler http.Handler
		target  string
	}{
		{"another subject", h, xrpc("getBacklinks", "subject", list, "source", like, "limit", "1")},
		{"another source", h, xrpc("getBacklinks", "subject", post, "source", listitem, "limit", "1")},
		{"another direction", h, xrpc("getBacklinks", "subject", post, "source", like, "limit", "1", "reverse", "true")},
		{"another filter", h, xrpc("getBacklinks", "subject", post, "source", like, "limit", "1", "did", bob)},
		{"another method", h, xrpc("getBacklinkDids", "subject", post, "source", like, "limit", "1")},
		{"many to many", h, xrpc("getManyToMany", "subject", post, "source", like, "limit", "1", "pathToOther", "x")},
		{"the older route", h, "/links?" + legacy},
		{"the older route for dids", h, "/links/distinct-dids?" + legacy},
		{"another index", serve(Config{InstanceID: "other"}), home},
		{"a position that the store refuses", serve(Config{Store: refuses{}}), home},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := do(c.handler, http.MethodGet, c.target+cursor)
			if w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), "`cursor`") {
				t.Errorf("status %d, %s", w.Code, w.Body)
			}
		})
	}
}

func FuzzCursor(f *testing.F) {
	c := (&server{}).cursorCodec(routes.GetBacklinks, likesQuery)
	for _, position := range []string{"", "3kb1", "\x00\xff"} {
		text, err := c.encode([]byte(position))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(*text)
		f.Add((*text)[1:])
	}
	f.Add(strings.Repeat("A", maxCursor))
	f.Add(strings.Repeat("A", 1<<20))
	f.Fuzz(func(t *testing.T, text string) {
		var position []byte
		var err error
		if n := allocatedBy(func() { position, err = c.decode(text) }); n > 1<<20+uint64(4*min(len(text), maxCursor)) {
			t.Errorf("%d bytes allocated for a cursor of %d", n, len(text))
		}
		if err != nil {
			return
		}
		// A position that decodes encodes to the same text.
		if again, err := c.encode(position); err != nil || *again != text {
			t.Errorf("%q opens as %x, which is sealed as %v, %v", text, position, again, err)
		}
	})
}
