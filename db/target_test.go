package db

import (
	"bytes"
	"context"
	"slices"
	"testing"

	"weft.dev/weft/db/codec"
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
		s := &Store{}
		s.defaults(Config{})
		s.state = newState(&s.cfg)
		s.snapshot.Store(emptySnapshot())
		fd := newApplier(&s.state, &s.history, emptySnapshot())
		key := fd.target(target)
		if n := codec.TargetLen(append(slices.Clone(key), 1, 2, 3)); n != len(key) {
			t.Fatalf("%q: the key %x is taken for %d bytes", target, key, n)
		}
		for i := range key {
			if n := codec.TargetLen(key[:i]); n != 0 {
				t.Fatalf("%q: %d bytes of the key %x are taken for a key of %d", target, i, key, n)
			}
		}
		fd.d.flush()
		if again, ok, err := fd.d.base.targetKey(target); !ok || err != nil || !bytes.Equal(again, key) {
			t.Fatalf("%q: looked up as %x, stored as %x", target, again, key)
		}
		s.snapshot.Store(fd.d.base)
		for _, n := range fd.rows.names {
			switch n.Kind {
			case 'd':
				s.didCache.put(n.ID, n.Name)
			case 'c':
				s.nsidCache.put(n.ID, n.Name)
			}
		}
		if got, err := s.targetStrings(context.Background(), [][]byte{key}); err != nil || got[0] != target {
			t.Fatalf("%q comes back as %q, %v", target, got, err)
		}
	})
}

// FuzzCheckPosition: a cursor passes exactly when it is a position and no more, and no bytes make the parser panic.
func FuzzCheckPosition(f *testing.F) {
	f.Add(codec.ListPosition{Rank: 1000, AccountID: 1, RkeySuffix: codec.AppendRkey(nil, "self")}.Append(nil))
	f.Add([]byte{1, 1, 5, 2, 1, 9, 1, 0, 0, 0, 0, 0, 0, 0, 1})
	f.Add([]byte{8, 1, 2})
	f.Fuzz(func(t *testing.T, after []byte) {
		if after == nil {
			return
		}
		_, rest, err := codec.DecodePosition(after)
		if want, got := err == nil && len(rest) == 0, checkPosition(after) == nil; got != want {
			t.Fatalf("%x passes: %v, want %v", after, got, want)
		}
	})
}

var targets = []string{
	"did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "did:web:example.com",
	"at://did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", "at://did:plc:aaaaaaaaaaaaaaaaaaaaaaaa/app.bsky.feed.post",
	"at://did:plc:aaaaaaaaaaaaaaaaaaaaaaaa/app.bsky.feed.post/3m2qrrgw22222", "at://did:plc:aaaaaaaaaaaaaaaaaaaaaaaa/app.bsky.actor.profile/self",
	"at://example.com/app.bsky.feed.post/3m2qrrgw22222", "at://did:plc:aaaaaaaaaaaaaaaaaaaaaaaa/app.bsky.feed.post/3m2qrrgw22222#frag",
	"https://example.com/a?b=c", "mailto:a@example.com",
}
