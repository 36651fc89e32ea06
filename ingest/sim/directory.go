package sim

import (
	"context"
	"errors"
	"strings"
)

// FirstHandle is the handle of the account that most others follow.
const FirstHandle = "alice.example.com"

// handleWords are the words of asciiWords that are names: 48.
const handleWords = 48

// Directory resolves the handles of the accounts of a server's network, as DNS and the PLC directory do for real ones.
// A handle depends only on the DID, so that the events don't depend on it. It is safe for concurrent use.
type Directory struct{ server *Server }

// errNoHandle is the error of a handle that no account has.
var errNoHandle = errors.New("sim: no account has this handle")

// Directory returns the server's directory.
func (s *Server) Directory() *Directory { return &Directory{s} }

// DID returns the account of a handle.
func (d *Directory) DID(_ context.Context, handle string) (string, error) {
	d.server.gen.Lock()
	defer d.server.gen.Unlock()
	for i := range d.server.net.accounts {
		if did := d.server.net.accounts[i].did; handleOf(i, did) == handle {
			return did, nil
		}
	}
	return "", errNoHandle
}

// Handle returns the handle of an account; "" for an unknown or deleted account.
func (d *Directory) Handle(_ context.Context, did string) (string, error) {
	d.server.gen.Lock()
	defer d.server.gen.Unlock()
	for i := range d.server.net.accounts {
		if d.server.net.accounts[i].did == did {
			return handleOf(i, did), nil
		}
	}
	return "", nil
}

// Named returns an error: the network has stars of repositories, but no repository records.
func (d *Directory) Named(context.Context, string, string, string) (string, error) {
	return "", errors.New("sim: no record has a name")
}

// handleOf returns the handle of the account in a slot of the network: two words and a part of its DID, such as
// copper-falcon-k3f2wa.example.com. The first slot is the most followed account.
func handleOf(place int, did string) string {
	if place == 0 {
		return FirstHandle
	}
	if host, ok := strings.CutPrefix(did, "did:web:"); ok {
		return host
	}
	hash := uint64(0)
	for i := range len(did) {
		hash = mix(hash ^ uint64(did[i]))
	}
	words := asciiWords[hash%handleWords] + "-" + asciiWords[hash/handleWords%handleWords]
	return words + "-" + did[len(did)-6:] + ".example.com"
}
