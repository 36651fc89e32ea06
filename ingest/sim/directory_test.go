package sim

import (
	"errors"
	"testing"

	"weft.dev/weft/link"
)

// TestDirectory: each account has its own handle, and handle and account name each other, as weft requires of real
// ones; an unknown DID has none. The handles change no event.
func TestDirectory(t *testing.T) {
	t.Parallel()
	s, err := NewServer(ServerConfig{NetworkConfig: NetworkConfig{Accounts: 500}, Backlog: 2000})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	d, ctx := s.Directory(), t.Context()
	seen := map[string]string{}
	for i := range s.net.accounts {
		did := s.net.accounts[i].did
		handle, err := d.Handle(ctx, did)
		if err != nil || !link.ValidHandle(handle) || seen[handle] != "" {
			t.Fatalf("%s has the handle %q, which %q has; %v", did, handle, seen[handle], err)
		}
		seen[handle] = did
		if back, err := d.DID(ctx, handle); back != did || err != nil {
			t.Errorf("%s is %s and not %s, %v", handle, back, did, err)
		}
	}
	if first := s.net.accounts[0].did; seen[FirstHandle] != first {
		t.Errorf("%s is %s, and not %s", FirstHandle, seen[FirstHandle], first)
	}
	if handle, err := d.Handle(ctx, "did:plc:nobody"); handle != "" || err != nil {
		t.Errorf("an account from elsewhere: %q, %v", handle, err)
	}
	if did, err := d.DID(ctx, "bob.example.com"); did != "" || !errors.Is(err, errNoHandle) {
		t.Errorf("a handle of nobody: %q, %v", did, err)
	}
}
