package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"modernc.org/sqlite"

	"weft.dev/weft/ingest/sim"
)

// TestMain selects the file locks of a writer that replicates, before any test opens a database.
func TestMain(m *testing.M) {
	// The heap may grow more before a collection, which saves CPU time.
	debug.SetGCPercent(400)
	_, err := sqlite.OFDLocking(true)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func weft(ctx context.Context, args ...string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	code = run(ctx, append([]string{"weft"}, args...), nil, &out, &err)
	return code, out.String(), err.String()
}

func TestUsage(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		args   []string
		code   int
		stdout string // in it
		stderr string // in it
	}{
		{"no command", nil, 0, "weft demo", ""},
		{"help", []string{"--help"}, 0, "--log-level is WEFT_LOG_LEVEL", ""},
		{"help of serve", []string{"serve", "--help"}, 0, "WEFT_JETSTREAM", ""},
		{"help of demo", []string{"demo", "--help"}, 0, "WEFT_DEMO_RATE", ""},
		{"help of check", []string{"check", "--help"}, 0, "changes nothing", ""},
		{"help of export", []string{"export", "--help"}, 0, "the same command resumes", ""},
		{"version", []string{"version"}, 0, "weft version dev", ""},
		{"version by flag", []string{"--version"}, 0, "weft version dev", ""},
		{"a command that is none", []string{"sevre"}, 2, "",
			"unknown command \"sevre\" (did you mean weft serve?)\nTry: weft --help\n"},
		{"a command like no other", []string{"frobnicate"}, 2, "", "unknown command \"frobnicate\"\nTry: weft --help\n"},
		{"a part of a command", []string{"conf"}, 2, "", "(did you mean weft conformance?)"},
		{"a command beneath another", []string{"replica", "lst"}, 2, "",
			"unknown command \"replica lst\" (did you mean weft replica list?)\nTry: weft replica --help\n"},
		{"a shell that is none", []string{"completion", "csh"}, 2, "",
			"unknown command \"completion csh\" (did you mean weft completion zsh?)"},
		{"a flag that is none", []string{"serve", "--jestream=x"}, 2, "",
			"weft: serve has no flag --jestream (did you mean --jetstream?)\nTry: weft serve --help\n"},
		{"a flag like no other", []string{"serve", "--colour"}, 2, "", "weft: serve has no flag --colour\n"},
		{"a flag of another command", []string{"demo", "--resolve-handles=false"}, 2, "",
			"weft: demo has no flag --resolve-handles; serve has\nTry: weft demo --help\n"},
		{"a flag before its command", []string{"--data=x", "stats"}, 2, "", "weft: weft has no flag --data; serve, check, "},
		{"a value of a command beneath another", []string{"replica", "list", "--config=/nowhere.yml"}, 2, "",
			"\nTry: weft replica list --help\n"},
		{"an argument too many", []string{"serve", "now"}, 2, "", `serve takes no argument, but got "now"`},
		{"a bad start", []string{"serve", "--from=yesterday"}, 2, "", "--from"},
		{"a bad rule", []string{"serve", "--checkpoint=5m |"}, 2, "", "--checkpoint: "},
		{"an empty server", []string{"serve", "--jetstream="}, 2, "", "--jetstream"},
		{"a collection that is none", []string{"serve", "--collections=likes"}, 2, "", `"likes" is not a collection`},
		{"a source that is none", []string{"serve", "--sources=app.bsky.feed.like"}, 2, "", "is not a source"},
		{"an account that is none", []string{"serve", "--dids=alice.example"}, 2, "", "is not a DID"},
		{"a file of accounts that isn't there", []string{"serve", "--dids=@/nowhere/dids"}, 1, "", "--dids: open"},
		{"a change of the slice that is none", []string{"serve", "--change-slice=now+all"}, 2, "",
			`"all" is not now, backfill or purge`},
		{"help of gaps", []string{"gaps", "--help"}, 0, "retry 7", ""},
		{"gaps of nothing", []string{"gaps", "--data=/nowhere"}, 1, "", "no weft.db"},
		{"gaps with an argument that is none", []string{"gaps", "fill"}, 2, "", "only the arguments retry and an id"},
		{"gaps with an id that is none", []string{"gaps", "retry", "x"}, 2, "", "not a gap id"},
		{"a bad way of keeping bodies", []string{"serve", "--bodies=on"}, 2, "",
			`--bodies: "on" is none of off, window and keep`},
		{"the same in a demo", []string{"demo", "--bodies=all"}, 2, "", "--bodies"},
		{"a bad log level", []string{"serve", "--log-level=loud"}, 2, "", "debug, info, warn or error"},
		{"a bad log format", []string{"serve", "--log-format=xml"}, 2, "", "text or json"},
		{"a bad rate", []string{"demo", "--rate=-1"}, 2, "", "--rate"},
		{"a rate that is no number", []string{"demo", "--rate=fast"}, 2, "", "rate"},
		{"an address that is none", []string{"demo", "--listen=nowhere:http:1", "--rate=1"}, 2, "",
			"--listen must be a host and a port"},
		{"an address of metrics that is none", []string{"serve", "--metrics-listen=nonsense"}, 2, "",
			"--metrics-listen must be a host and a port"},
		{"an address that isn't ours", []string{"serve", "--data=/nowhere/at/all", "--listen=192.0.2.1:1"}, 1, "",
			"--listen chooses another"},
		{"a server with a path", []string{"serve", "--jetstream=https://Me:SecReT@jetstream.example/v1"}, 2, "",
			"use https://jetstream.example"},
		{"a server with a cursor", []string{"serve", "--jetstream=wss://jetstream.example/subscribe?cursor=1"}, 2, "",
			"--from"},
		{"servers with other filters", []string{"serve", "--collections=app.bsky.feed.post",
			"--jetstream=wss://jetstream.example/subscribe?wantedCollections=app.bsky.feed.like"}, 2, "",
			"use --collections alone"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			code, stdout, stderr := weft(t.Context(), tc.args...)
			if code != tc.code || !strings.Contains(stdout, tc.stdout) || !strings.Contains(stderr, tc.stderr) {
				t.Errorf("code %d, stdout %q, stderr %q", code, stdout, stderr)
			}
			if tc.code != 0 && strings.Count(stderr, "\n") > 2 {
				t.Errorf("an error takes more than two lines: %q", stderr)
			}
		})
	}
}

func TestEnvironment(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		environ []string
		want    string // substring of stderr; empty: accepted
	}{
		{"none of ours", []string{"HOME=/", "WEFTY=1"}, ""},
		{"ours", []string{"WEFT_LOG_LEVEL=debug", "WEFT_DEMO_SEED=3"}, ""},
		{"misspelt", []string{"WEFT_JETSREAM=x", "WEFT_DATA=y"},
			"unknown environment variable WEFT_JETSREAM (did you mean WEFT_JETSTREAM?)\nTry: weft COMMAND --help"},
		{"two of them", []string{"WEFT_COLOUR=x", "WEFT_LOG_LEVL=y"},
			"unknown environment variable WEFT_COLOUR, WEFT_LOG_LEVL (did you mean WEFT_LOG_LEVEL?)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var out, errs bytes.Buffer
			code := run(t.Context(), []string{"weft", "version"}, tc.environ, &out, &errs)
			if (code == 0) != (tc.want == "") || !strings.Contains(errs.String(), tc.want) ||
				strings.Count(errs.String(), "\n") > 2 {
				t.Errorf("code %d, %q", code, errs.String())
			}
		})
	}
}

// TestFlagsHaveVariables: every flag has an environment variable with its name.
func TestFlagsHaveVariables(t *testing.T) {
	t.Parallel()
	for _, cmd := range newRoot(io.Discard, io.Discard).Commands {
		for _, flag := range cmd.Flags {
			name := flag.Names()[0]
			want := "WEFT_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
			switch cmd.Name + " " + name {
			case "export out", "export format", "export part-links", "export from", "export to", "export collection",
				"export inactive", "export bodies",
				"conformance subject", "conformance source", "conformance other", "conformance fixture",
				"demo rate", "demo seed", "check all", "check sample", "check seed", "status url", "status ready",
				"restore timestamp", "restore txid", "restore plan", "restore segments", "restore force",
				"verify json", "verify scratch", "verify segment-bytes", "log from", "log limit":
				want = "WEFT_" + strings.ToUpper(cmd.Name+"_"+strings.ReplaceAll(name, "-", "_"))
			}
			if name == "config" { // serve --replicate sets it
				want = "WEFT_REPLICATE"
			}
			env, ok := flag.(interface{ GetEnvVars() []string })
			if !ok || len(env.GetEnvVars()) != 1 || env.GetEnvVars()[0] != want {
				t.Errorf("%s --%s is not read from %s", cmd.Name, name, want)
			}
		}
	}
}

// syncBuffer is a buffer that a command writes and a test reads at the same time.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// stuck is the time limit of the demo. It takes seconds, or minutes under the race detector on a busy machine.
const stuck = 5 * time.Minute

// TestDemo runs the first command of the README: the printed URLs answer, the counts grow, and an interrupt ends it in
// order.
func TestDemo(t *testing.T) {
	t.Parallel()
	var out, logs syncBuffer
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, []string{"weft", "demo", "--listen=127.0.0.1:0", "--metrics-listen=127.0.0.1:0", "--log-level=info",
			"--rate=2000"}, nil, &out, &logs)
	}()
	fail := func(format string, args ...any) {
		t.Helper()
		t.Errorf(format, args...)
		t.Fatalf("stdout:\n%s\nlogs:\n%s", out.String(), logs.String())
	}
	wait := func(what string, ok func() bool) {
		t.Helper()
		for deadline := time.Now().Add(stuck); !ok(); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				fail("waited %s until %s", stuck, what)
			}
		}
	}
	var urls [][]string
	wait("the URLs are printed", func() bool {
		urls = regexp.MustCompile(`curl '(http://[^']+)'`).FindAllStringSubmatch(out.String(), -1)
		return strings.Contains(out.String(), "Current counts") && len(urls) >= 8
	})
	get := func(url string, into any) {
		t.Helper()
		res, err := http.Get(url)
		if err != nil {
			fail("%v", err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != http.StatusOK {
			fail("%s answers %s, %s, %v", url, res.Status, body, err)
		}
		if err := json.Unmarshal(body, into); err != nil {
			fail("%s answers %s: %v", url, body, err)
		}
	}
	if _, counts, _ := strings.Cut(out.String(), "Current counts"); regexp.MustCompile(`\d\d:\d\d`).MatchString(counts) {
		fail("the counts have a time of day without a date and a zone")
	}
	base := regexp.MustCompile(`^http://[^/]+`).FindString(urls[0][1])
	links := func() int64 {
		var index struct{ Stats struct{ Links int64 } }
		get(base+"/", &index)
		return index.Stats.Links
	}
	wait("the past is indexed", func() bool { return links() > demoBacklog/2 })
	before := links()
	wait("the counts grow", func() bool { return links() > before+500 })
	for _, url := range urls {
		if strings.HasSuffix(url[1], "/metrics") {
			continue
		}
		var answer map[string]any
		get(url[1], &answer)
		if total, ok := answer["total"].(float64); ok && total == 0 {
			fail("%s has nothing to show", url[1])
		}
	}
	var replies struct {
		Records []struct{ Value struct{ Text string } }
	}
	for _, url := range urls {
		if strings.Contains(url[1], "hydrate=true") {
			get(url[1], &replies)
		}
	}
	if len(replies.Records) == 0 || replies.Records[0].Value.Text == "" {
		fail("replies have no text: %+v", replies)
	}
	names := map[string]string{}
	var search *http.Response
	wait("a search by handle is answered", func() bool { // a server that is busy says to try again in a moment
		var err error
		search, err = http.Get(base + "/search?q=" + sim.FirstHandle)
		if err != nil {
			fail("a search by handle: %v", err)
		}
		search.Body.Close()
		return search.StatusCode != http.StatusServiceUnavailable
	})
	did := search.Request.URL.Query().Get("target")
	if search.StatusCode != http.StatusOK || !strings.HasPrefix(did, "did:plc:") {
		fail("a search by handle leads to %s: %s", search.Request.URL, search.Status)
	}
	get(base+"/names?did="+did, &names)
	if names[did] != sim.FirstHandle {
		fail("the names of %s are %v", did, names)
	}
	var ready struct{ Ready bool }
	if get(base+"/readyz", &ready); !ready.Ready {
		fail("not ready")
	}
	cancel()
	select {
	case code := <-done:
		if code != 0 {
			fail("the end has code %d", code)
		}
	case <-time.After(stuck):
		fail("no end within %s", stuck)
	}
	last := -1
	for _, step := range []string{"shutting down: not ready", "stopping ingest", "are committed", "checkpointing",
		"closing the database"} {
		at := strings.Index(logs.String(), step)
		if at <= last {
			fail("%q is not logged, or out of order", step)
		}
		last = at
	}
}

// TestCommitOf: the version names the commit of a build in a checkout and marks a modified tree.
func TestCommitOf(t *testing.T) {
	t.Parallel()
	setting := func(key, value string) debug.BuildSetting { return debug.BuildSetting{Key: key, Value: value} }
	commit := setting("vcs.revision", "0123456789abcdef0123456789abcdef01234567")
	at := setting("vcs.time", "2026-11-20T10:00:00Z")
	for _, tc := range []struct {
		name     string
		settings []debug.BuildSetting
		want     string
	}{
		{"no checkout", nil, ""},
		{"a commit", []debug.BuildSetting{commit, at, setting("vcs.modified", "false")},
			" (commit 0123456789ab, 2026-11-20T10:00:00Z)"},
		{"changes", []debug.BuildSetting{commit, at, setting("vcs.modified", "true")},
			" (commit 0123456789ab and changes, 2026-11-20T10:00:00Z)"},
	} {
		if got := commitOf(tc.settings); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
}
