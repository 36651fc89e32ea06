// Package budget bounds what one client can take of a server that all clients share: bytes of memory, turns of work,
// connections.
//
// All of them are one thing, a Budget: an amount, of which a client takes a part before the work begins and gives it
// back when the work is over. A client who takes too much waits for its own parts and not for those of others.
package budget

import (
	"context"
	"errors"
	"slices"
	"sync"
)

// Config says how much there is. Only Total has to be set.
type Config struct {
	Total   int64 // in bytes, turns or whatever is counted
	PerHost int64 // of one host at once; 0: all
	PerNet  int64 // of one network at once; 0: all

	Waiting        int // takers in line at once; 0: 512
	WaitingPerHost int // of one host; 0: a quarter of Waiting
}

// Each waiting request holds its connection and some 20 kB: 512 of them are 10 MB.
const defaultWaiting = 512

// ErrFull refuses a taker because the line is full.
var ErrFull = errors.New("budget: too many wait already")

// Budget is an amount that clients share. It is safe for concurrent use.
type Budget struct {
	cfg Config

	mu      sync.Mutex
	free    int64
	held    map[string]int64 // by network and by host, which are never the same text
	nets    []*netLine       // networks with takers in line, the next first
	waiting int
}

// netLine is the line of a network, and hostLine that of a host in it: each gets its turn after the others of its kind.
type netLine struct {
	net   string
	hosts []*hostLine
}

type hostLine struct {
	host   string
	takers []*taker // the longest waiting first
}

type taker struct {
	who     Client
	n       int64
	granted chan struct{}
}

// New returns a budget that no client holds a part of.
func New(c Config) *Budget {
	if c.Waiting <= 0 {
		c.Waiting = defaultWaiting
	}
	if c.WaitingPerHost <= 0 {
		c.WaitingPerHost = max(1, c.Waiting/4)
	}
	if c.PerHost <= 0 || c.PerHost > c.Total {
		c.PerHost = c.Total
	}
	if c.PerNet <= 0 || c.PerNet > c.Total {
		c.PerNet = c.Total
	}
	return &Budget{cfg: c, free: c.Total, held: map[string]int64{}}
}

// Free returns the amount that no client holds.
func (b *Budget) Free() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.free
}

// Grant is a part of a budget that a client holds. Its methods are for one goroutine; those of a nil Grant do nothing.
type Grant struct {
	budget *Budget
	who    Client
	n      int64
}

// Try takes n at once; nil when that is not free, or more than who may hold.
func (b *Budget) Try(who Client, n int64) *Grant {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.nets) > 0 && b.free < n+b.nets[0].hosts[0].takers[0].n || b.free < n || !b.mayHold(who, n) {
		return nil
	}
	b.hold(who, n)
	return &Grant{b, who, n}
}

// Take takes n, and waits in line for it. It returns the error of ctx when n does not come free in time, and ErrFull
// when the line is full or n is more than who may ever hold.
func (b *Budget) Take(ctx context.Context, who Client, n int64) (*Grant, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b.mu.Lock()
	if n > min(b.cfg.PerHost, b.cfg.PerNet) {
		b.mu.Unlock()
		return nil, ErrFull
	}
	if len(b.nets) == 0 && b.free >= n && b.mayHold(who, n) {
		b.hold(who, n)
		b.mu.Unlock()
		return &Grant{b, who, n}, nil
	}
	t := &taker{who, n, make(chan struct{})}
	if !b.enter(t) {
		b.mu.Unlock()
		return nil, ErrFull
	}
	b.pass() // the line may be of clients who hold all that they may
	b.mu.Unlock()
	select {
	case <-t.granted:
		return &Grant{b, who, n}, nil
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.leave(t) { // it was granted at the same moment
		b.put(who, n)
	}
	b.pass()
	return nil, ctx.Err()
}

// Shrink gives back all but n of a grant.
func (g *Grant) Shrink(n int64) {
	if g == nil || n >= g.n {
		return
	}
	g.budget.mu.Lock()
	defer g.budget.mu.Unlock()
	g.budget.put(g.who, g.n-n)
	g.n = n
	g.budget.pass()
}

// Give gives a grant back. Further calls do nothing.
func (g *Grant) Give() { g.Shrink(0) }

func (b *Budget) mayHold(who Client, n int64) bool {
	return b.held[who.Host]+n <= b.cfg.PerHost && (who.Net == who.Host || b.held[who.Net]+n <= b.cfg.PerNet)
}

func (b *Budget) hold(who Client, n int64) {
	b.free -= n
	b.add(who.Host, n)
	if who.Net != who.Host {
		b.add(who.Net, n)
	}
}

func (b *Budget) put(who Client, n int64) {
	b.hold(who, -n)
}

func (b *Budget) add(key string, n int64) {
	b.held[key] += n
	if b.held[key] == 0 {
		delete(b.held, key)
	}
}

// enter puts a taker at the end of its host's line; false: the line is full.
func (b *Budget) enter(t *taker) bool {
	if b.waiting >= b.cfg.Waiting {
		return false
	}
	i := slices.IndexFunc(b.nets, func(l *netLine) bool { return l.net == t.who.Net })
	if i < 0 {
		i = len(b.nets)
		b.nets = append(b.nets, &netLine{net: t.who.Net})
	}
	net := b.nets[i]
	j := slices.IndexFunc(net.hosts, func(l *hostLine) bool { return l.host == t.who.Host })
	if j < 0 {
		j = len(net.hosts)
		net.hosts = append(net.hosts, &hostLine{host: t.who.Host})
	}
	host := net.hosts[j]
	if len(host.takers) >= b.cfg.WaitingPerHost {
		return false
	}
	host.takers = append(host.takers, t)
	b.waiting++
	return true
}

// leave takes a taker out of the line; false: it is no longer in it.
func (b *Budget) leave(t *taker) bool {
	for i, net := range b.nets {
		for j, host := range net.hosts {
			k := slices.Index(host.takers, t)
			if k < 0 {
				continue
			}
			host.takers = slices.Delete(host.takers, k, k+1)
			b.waiting--
			if len(host.takers) == 0 {
				net.hosts = slices.Delete(net.hosts, j, j+1)
			}
			if len(net.hosts) == 0 {
				b.nets = slices.Delete(b.nets, i, i+1)
			}
			return true
		}
	}
	return false
}

// serve takes the first taker of a host out of the line, and puts the rest of its host and of its network to the end
// of theirs.
func (b *Budget) serve(i, j int) {
	net := b.nets[i]
	host := net.hosts[j]
	host.takers = host.takers[1:]
	b.waiting--
	net.hosts = slices.Delete(net.hosts, j, j+1)
	if len(host.takers) > 0 {
		net.hosts = append(net.hosts, host)
	}
	b.nets = slices.Delete(b.nets, i, i+1)
	if len(net.hosts) > 0 {
		b.nets = append(b.nets, net)
	}
}

// pass grants what is free to the next in line. Clients who hold all that they may are passed over; for one who lacks
// only what is not free yet, the others wait, so that small takers do not starve it.
func (b *Budget) pass() {
	for {
		i, j, ok := b.next()
		if !ok {
			return
		}
		t := b.nets[i].hosts[j].takers[0]
		if b.free < t.n {
			return
		}
		b.hold(t.who, t.n)
		b.serve(i, j)
		close(t.granted)
	}
}

func (b *Budget) next() (i, j int, ok bool) {
	for i, net := range b.nets {
		for j, host := range net.hosts {
			if t := host.takers[0]; b.mayHold(t.who, t.n) {
				return i, j, true
			}
		}
	}
	return 0, 0, false
}
