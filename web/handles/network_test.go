package handles

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// world has answers by address: a missing one is a 404, and "down" a broken connection.
type world map[string]string

func (w world) RoundTrip(r *http.Request) (*http.Response, error) {
	body, ok := w[r.URL.String()]
	status := http.StatusOK
	switch {
	case body == "down":
		return nil, errors.New("no route to host")
	case body == "busy":
		status = http.StatusTooManyRequests
	case !ok:
		status = http.StatusNotFound
	}
	return &http.Response{StatusCode: status, Status: http.StatusText(status), Body: io.NopCloser(strings.NewReader(body)),
		Request: r}, nil
}

// ask returns a network over a world, with DNS records; "away" is an unreachable resolver.
func (w world) ask(dns map[string][]string) *network {
	client := &http.Client{Transport: w}
	return &network{strangers: client, known: client, plc: plc, domains: newDomains(time.Now),
		txt: func(_ context.Context, name string) ([]string, error) {
			records, ok := dns[name]
			if _, away := dns["away"]; away {
				return nil, &net.DNSError{Err: "server misbehaving", Name: name, IsTemporary: true}
			}
			if !ok {
				return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
			}
			return records, nil
		}}
}

func document(did string, names ...string) string {
	return fmt.Sprintf(`{"id":%q,"alsoKnownAs":["%s"]}`, did, strings.Join(names, `","`))
}

func TestNetwork(t *testing.T) {
	t.Parallel()
	web := "https://alice.test/.well-known/atproto-did"
	byDNS := map[string][]string{"_atproto.alice.test": {"v=x", "did=" + alice}}
	for _, c := range []struct {
		name        string
		world       world
		dns         map[string][]string
		did, handle string // DID of alice.test, and handle of alice; empty: none
		away        bool
	}{
		{"by DNS", world{plc + "/" + alice: document(alice, "https://x", "at://Alice.test", "at://other.test")}, byDNS, alice,
			"alice.test", false},
		{"by the web", world{plc + "/" + alice: document(alice, "at://alice.test"), web: alice + "\n"}, nil, alice,
			"alice.test", false},
		{"the account says another", world{plc + "/" + alice: document(alice, "at://other.test")}, byDNS, "", "", false},
		{"the account says none", world{plc + "/" + alice: document(alice)}, byDNS, "", "", false},
		{"the handle says another", world{plc + "/" + alice: document(alice, "at://alice.test"),
			plc + "/" + bob: document(bob, "at://bob.test")},
			map[string][]string{"_atproto.alice.test": {"did=" + bob}}, "", "", false},
		{"two records in DNS", world{plc + "/" + alice: document(alice, "at://alice.test"), web: alice},
			map[string][]string{"_atproto.alice.test": {"did=" + alice, "did=" + bob}}, "", "", false},
		{"no DID at the domain", world{plc + "/" + alice: document(alice, "at://alice.test"), web: "<html>"}, nil, "", "",
			false},
		{"nobody", world{}, nil, "", "", false},
		{"another's document", world{plc + "/" + alice: document(bob, "at://alice.test")}, byDNS, "", "", false},
		{"no document", world{plc + "/" + alice: "<html>"}, byDNS, "", "", false},
		{"no handle in the document", world{plc + "/" + alice: document(alice, "at://not a handle", "at://localhost")}, byDNS,
			"", "", false},
		{"the domain's server is down", world{plc + "/" + alice: document(alice, "at://alice.test"), web: "down"}, nil, "",
			"", false},
		{"the directory is down", world{plc + "/" + alice: "down"}, byDNS, "", "", true},
		{"the directory is busy", world{plc + "/" + alice: "busy"}, byDNS, "", "", true},
		{"no internet", world{plc + "/" + alice: "down", web: "down"}, map[string][]string{"away": nil}, "", "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			n := c.world.ask(c.dns)
			did, err := n.DID(t.Context(), "alice.test")
			if c.did != "" && (did != c.did || err != nil) || c.did == "" &&
				(err == nil || (errors.Is(err, ErrAway) || errors.Is(err, errSilent)) != c.away) {
				t.Errorf("the account is %q, %v", did, err)
			}
			handle, err := n.Handle(t.Context(), alice)
			if handle != c.handle || errors.Is(err, ErrAway) != c.away {
				t.Errorf("the handle is %q, %v", handle, err)
			}
		})
	}
}

func TestWebDIDs(t *testing.T) {
	t.Parallel()
	did := "did:web:alice.test"
	n := world{"https://alice.test/.well-known/did.json": document(did, "at://alice.test"),
		"https://alice.test/.well-known/atproto-did": did}.ask(nil)
	if handle, err := n.Handle(t.Context(), did); handle != "alice.test" || err != nil {
		t.Errorf("%q, %v", handle, err)
	}
	for _, did := range []string{"did:web:localhost", "did:web:alice.test%3A8080", "did:web:alice.test:path",
		"did:web:127.0.0.1", "did:key:z6Mk", "did:web:..%2f"} {
		if handle, err := n.Handle(t.Context(), did); handle != "" || err == nil {
			t.Errorf("%s: %q, %v", did, handle, err)
		}
	}
}

// TestPublicOnly: no address of a private network is connected to.
func TestPublicOnly(t *testing.T) {
	t.Parallel()
	for address, allowed := range map[string]bool{
		"1.1.1.1:443": true, "[2606:4700::1111]:443": true,
		"127.0.0.1:443": false, "[::1]:443": false, "10.0.0.1:443": false, "172.16.3.4:443": false, "192.168.1.1:443": false,
		"169.254.169.254:80": false,
		"[fe80::1]:443":      false, "[fd00::1]:443": false, "[::ffff:127.0.0.1]:443": false, "[::ffff:10.1.2.3]:443": false,
		"0.0.0.0:443": false, "[::]:443": false,
		"100.64.0.1:443": false, "224.0.0.1:443": false, "[ff02::1]:443": false, "[64:ff9b::a00:1]:443": false,
		"[2002:7f00:1::]:443": false, "255.255.255.255:1": false,
		"nonsense": false, "[fec0::1]:443": false, "[64:ff9b:1::7f00:1]:443": false, "[::127.0.0.1]:443": false,
		"[100::1]:443": false,
	} {
		if err := publicOnly("tcp", address, nil); (err == nil) != allowed {
			t.Errorf("%s: %v", address, err)
		}
	}
	// The client for strangers' hosts has this check.
	if _, err := get(t.Context(), newNetwork().strangers, "https://127.0.0.1:1/", maxLine); err == nil ||
		!strings.Contains(err.Error(), "not on the internet") {
		t.Errorf("127.0.0.1: %v", err)
	}
}
