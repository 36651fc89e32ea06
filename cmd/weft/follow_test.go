package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestServeFollowRefuses: --follow refuses each flag that only a writer has, by its name, and each replica that can't
// be followed.
func TestServeFollowRefuses(t *testing.T) {
	t.Parallel()
	config := filepath.Join(t.TempDir(), "litestream.yml")
	if err := os.WriteFile(config,
		[]byte("dbs:\n  - path: /data/weft.db\n    replica: {type: file, path: "+t.TempDir()+"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	own := smallIndex(t)
	for _, tc := range []struct {
		name   string
		args   []string
		code   int
		stderr string
	}{
		{"an upstream", []string{"--jetstream", "example.com", "--from=start"}, 2, "remove --jetstream, --from ("},
		{"a slice", []string{"--collections", "app.bsky.feed.like"}, 2, "remove --collections ("},
		{"a replica of its own", []string{"--replicate", "off"}, 2, "remove --replicate ("},
		{"bodies", []string{"--bodies", "keep"}, 2, "remove --bodies ("},
		{"no pause", []string{"--follow-every", "0s"}, 2, "--follow-every must be a duration"},
		{"a lag below nothing", []string{"--max-lag=-1s"}, 2, "--max-lag must be 0 or a duration"},
		{"an argument", []string{"now"}, 2, "takes no argument"},
		{"no configuration", []string{"--follow", config + "x"}, 2, "--follow: replica: read the configuration"},
		{"an empty replica", []string{"--data", t.TempDir()}, 1, "start the primary first, with --replicate"},
		{"an index of its own", []string{"--data", own}, 1, "use an empty directory for the follower"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			code, _, stderr := weft(t.Context(), append([]string{"serve", "--follow", config, "--listen", "127.0.0.1:0"},
				tc.args...)...)
			if code != tc.code || !strings.Contains(stderr, tc.stderr) {
				t.Errorf("code %d, stderr %q", code, stderr)
			}
		})
	}
}
