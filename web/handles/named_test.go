package handles

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
)

const repos = "sh.tangled.repo"

// TestNamedRemembers: the same name is looked up once a minute, and not during a pause.
func TestNamedRemembers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &directory{handles: map[string]string{alice + "/" + repos + "/core": "3m"}}
		h := New(Config{Directory: d})
		for range 3 {
			if rkey, err := h.Named(t.Context(), alice, repos, "core"); rkey != "3m" || err != nil {
				t.Fatalf("%q, %v", rkey, err)
			}
		}
		if _, err := h.Named(t.Context(), alice, repos, "other"); !errors.Is(err, ErrNotNamed) {
			t.Errorf("of no record: %v", err)
		}
		if _, err := h.Named(t.Context(), alice, repos, strings.Repeat("x", maxName+1)); !errors.Is(err, ErrNotNamed) {
			t.Errorf("of a long name: %v", err)
		}
		if n := d.count(); n != 2 {
			t.Errorf("asked %d times", n)
		}
	})
}

// TestNamedOnTheNetwork queries the server in the account's document, and ignores its records of other accounts.
func TestNamedOnTheNetwork(t *testing.T) {
	t.Parallel()
	const list = "https://pds.test/xrpc/com.atproto.repo.listRecords?collection=" + repos +
		"&limit=100&repo=did%3Aplc%3Aaaaaaaaaaaaaaaaaaaaaaaaa"
	doc := func(endpoint string) string {
		return `{"id":"` + alice + `","service":[{"id":"#other","serviceEndpoint":{"x":1}},{"id":"` + alice +
			`#atproto_pds","serviceEndpoint":` + endpoint + `}]}`
	}
	records := `{"records":[{"uri":"at://` + bob + "/" + repos + `/3b","value":{"name":"core"}},{"uri":"at://` + alice +
		`/a.b.c/3c","value":{"name":"core"}},
		{"uri":"at://` + alice + "/" + repos + `/3d","value":{"name":5}},{"uri":"x","value":{"name":"core"}},{"uri":"at://` +
		alice + "/" + repos + `/3m","value":{"name":"core"}}]}`
	for _, c := range []struct {
		name     string
		document string
		list     string
		want     string
	}{
		{"well", doc(`"https://pds.test"`), records, "3m"},
		{"with a slash", doc(`"https://PDS.test/"`), records, "3m"},
		{"no such name", doc(`"https://pds.test"`), strings.ReplaceAll(records, `"core"`, `"other"`), ""},
		{"no JSON", doc(`"https://pds.test"`), "<html>", ""},
		{"a server without https", doc(`"http://pds.test"`), records, ""},
		{"a server with a path", doc(`"https://pds.test/x"`), records, ""},
		{"a server with a port", doc(`"https://pds.test:8443"`), records, ""},
		{"an address for a server", doc(`"https://127.0.0.1"`), records, ""},
		{"a server that is no text", doc(`5`), records, ""},
		{"another's document", strings.ReplaceAll(doc(`"https://pds.test"`), alice, bob), records, ""},
		{"no document", "", records, ""},
		{"a server that is down", doc(`"https://pds.test"`), "down", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := world{list: c.list}
			if c.document != "" {
				w[plc+"/"+alice] = c.document
			}
			rkey, err := w.ask(nil).Named(t.Context(), alice, repos, "core")
			if rkey != c.want || (err == nil) != (c.want != "") {
				t.Errorf("%q, %v", rkey, err)
			}
		})
	}
}

// FuzzNamed: any document and any answer of a server give a result or an error.
func FuzzNamed(f *testing.F) {
	f.Add(`{"id":"`+alice+`","service":[{"id":"#atproto_pds","serviceEndpoint":"https://pds.test"}]}`,
		`{"records":[{"uri":"at://`+alice+`/a.b.c/d","value":{"name":"x"}}]}`)
	f.Add(`{"service":{}}`, `[]`)
	f.Fuzz(func(t *testing.T, doc, list string) {
		host, err := serverIn([]byte(doc), alice)
		if err == nil && (host == "" || strings.ContainsAny(host, "/:@?# ")) {
			t.Errorf("the server is %q", host)
		}
		rkey, err := namedIn([]byte(list), alice, repos, "core")
		if err == nil && rkey == "" {
			t.Error("a record without a key")
		}
	})
}
