package config

import (
	"sync"

	"github.com/benbjohnson/litestream"
)

// Source returns clients of a replica: of the main database for "", else of the database at sub beneath it. Config
// implements it.
type Source interface {
	Client(sub string) (litestream.ReplicaClient, error)
}

// Pool is a Source that reuses clients. Litestream's SFTP client has no way to close its connection: a client per
// segment would leave a connection per segment open.
type Pool struct {
	src Source

	mu   sync.Mutex
	idle []litestream.ReplicaClient
}

// retargeter is a client that can be pointed at another database of its replica.
type retargeter interface {
	Retarget(sub string) error
}

// PoolOf returns a pool of a source's clients. It returns a Pool unchanged.
func PoolOf(src Source) *Pool {
	if p, ok := src.(*Pool); ok {
		return p
	}
	return &Pool{src: src}
}

// Client returns an idle client that now points at sub, or a new one.
func (p *Pool) Client(sub string) (litestream.ReplicaClient, error) {
	p.mu.Lock()
	n := len(p.idle)
	if n == 0 {
		p.mu.Unlock()
		return p.src.Client(sub)
	}
	client := p.idle[n-1]
	p.idle = p.idle[:n-1]
	p.mu.Unlock()
	return client, client.(retargeter).Retarget(sub)
}

// Release returns a client to the pool. The caller must not use the client any more.
func (p *Pool) Release(client litestream.ReplicaClient) {
	if _, ok := client.(retargeter); !ok {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = append(p.idle, client)
}

// Use runs do with a client of the database at sub.
func (p *Pool) Use(sub string, do func(litestream.ReplicaClient) error) error {
	client, err := p.Client(sub)
	if err != nil {
		return err
	}
	defer p.Release(client)
	return do(client)
}
