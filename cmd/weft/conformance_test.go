package main

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weft.dev/weft/api"
	"weft.dev/weft/db"
)

func TestConformanceCommand(t *testing.T) {
	t.Parallel()
	store, err := db.Open(db.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	srv := httptest.NewServer(api.New(api.Config{Store: store, Logger: slog.New(slog.DiscardHandler)}))
	defer srv.Close()
	empty := httptest.NewServer(http.NotFoundHandler())
	defer empty.Close()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	file := filepath.Join(t.TempDir(), "fixture.json")
	if err := os.WriteFile(file, []byte(`{"lists":[{"subject":"did:plc:alice","source":"a.b.c:x"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{srv.URL}, 0, "ok       a subject without links"},
		{[]string{srv.URL}, 0, "\n" + srv.URL + ": 15 ok, 0 failed, 0 differ, 12 skipped\n"},
		{[]string{empty.URL}, 1,
			"has no backlink API: it answered 404 for /xrpc/blue.microcosm.links.getBacklinksCount and 404 for /links/count"},
		{[]string{gone.URL}, 1, "cannot reach the server"},
		{[]string{"--fixture", file, srv.URL}, 1, "FAILED   counts, totals and lists agree: a.b.c:x of did:plc:alice"},
		{[]string{"--subject", "did:plc:alice", "--source", "a.b.c:x", srv.URL}, 1, "tests failed"},
		{[]string{"--subject", "did:plc:alice", srv.URL}, 2, "need each other"},
		{[]string{"--fixture", file + "x", srv.URL}, 1, "--fixture"},
		{[]string{}, 2, "needs one argument, the URL"},
		{[]string{"hello"}, 1, "not the URL of a server"},
	} {
		var out bytes.Buffer
		if code := run(t.Context(), append([]string{"weft", "conformance"}, c.args...), nil, &out, &out); code != c.code ||
			!strings.Contains(out.String(), c.says) ||
			strings.Contains(out.String(), "cannot reach") && strings.Count(out.String(), "\n") > 1 {
			t.Errorf("%q: code %d, %s", c.args, code, out.String())
		}
	}
}
