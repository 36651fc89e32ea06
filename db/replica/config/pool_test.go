package config

import (
	"testing"

	"github.com/benbjohnson/litestream"
)

// countedSource counts the clients that it makes.
type countedSource struct{ n int }

func (s *countedSource) Client(sub string) (litestream.ReplicaClient, error) {
	s.n++
	return Config{Type: "sftp", Host: "h", User: "u", Path: "/copy"}.Client(sub)
}

// TestPool: a pool makes as many clients as are in use at once, and each points where its user asked.
func TestPool(t *testing.T) {
	t.Parallel()
	src := &countedSource{}
	p := PoolOf(src)
	if PoolOf(p) != p {
		t.Error("a pool of a pool is another one")
	}
	for _, sub := range []string{"segments/a", "segments/b", "instance"} {
		err := p.Use(sub, func(client litestream.ReplicaClient) error {
			if b := client.(*boundedClient); b.sub != sub {
				t.Errorf("the client of %s is of %s", sub, b.sub)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if src.n != 1 {
		t.Errorf("%d clients for one user at a time", src.n)
	}
	err := p.Use("a", func(litestream.ReplicaClient) error {
		return p.Use("b", func(litestream.ReplicaClient) error { return nil })
	})
	if err != nil || src.n != 2 {
		t.Errorf("%d clients for two users, %v", src.n, err)
	}
	if _, err := p.Client("../x"); err == nil {
		t.Error("a client leads out of the replica")
	}
}
