package apply

import (
	"bytes"
	"context"
	"slices"
	"testing"

	"weft.dev/weft/db/codec"
	"weft.dev/weft/db/index"
	"weft.dev/weft/link"
)

// FuzzTarget: every target comes back from its key as it went in, and the key ends itself.
func FuzzTarget(f *testing.F) {
	for _, target := range targets {
		f.Add(target)
	}
	f.Fuzz(func(t *testing.T, in string) {
		target, kind := link.Parse(in)
		if kind == link.None {
			t.Skip()
		}
		core := index.NewCore(index.CoreConfig{})
		fd := New(NewState(StateConfig{}), &History{}, index.EmptySnapshot(), Origin{})
		key := fd.target(target)
		if n := codec.TargetLen(append(slices.Clone(key), 1, 2, 3)); n != len(key) {
			t.Fatalf("%q: the key %x is taken for %d bytes", target, key, n)
		}
		for i := range key {
			if n := codec.TargetLen(key[:i]); n != 0 {
				t.Fatalf("%q: %d bytes of the key %x are taken for a key of %d", target, i, key, n)
			}
		}
		fd.d.pushRuns()
		if again, ok, err := fd.d.base.TargetKey(target); !ok || err != nil || !bytes.Equal(again, key) {
			t.Fatalf("%q: looked up as %x, stored as %x", target, again, key)
		}
		core.SetSnapshot(fd.d.base)
		for _, n := range fd.rows.Names {
			if n.Kind != 's' {
				core.Remember(n.Kind, n.ID, n.Name)
			}
		}
		if got, err := core.TargetStrings(context.Background(), [][]byte{key}); err != nil || got[0] != target {
			t.Fatalf("%q comes back as %q, %v", target, got, err)
		}
	})
}

var targets = []string{
	"did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "did:web:example.com",
	"at://did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "at://did:plc:aaaaaaaaaaaaaaaaaaaaaaaa/app.bsky.feed.post",
	"at://did:plc:aaaaaaaaaaaaaaaaaaaaaaaa/app.bsky.feed.post/3m2qrrgw22222",
	"at://did:plc:aaaaaaaaaaaaaaaaaaaaaaaa/app.bsky.actor.profile/self",
	"at://example.com/app.bsky.feed.post/3m2qrrgw22222",
	"at://did:plc:aaaaaaaaaaaaaaaaaaaaaaaa/app.bsky.feed.post/3m2qrrgw22222#frag",
	"https://example.com/a?b=c", "mailto:a@example.com",
}
