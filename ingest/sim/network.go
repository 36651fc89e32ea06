package sim

import (
	"math/bits"
	"time"
)

// NetworkConfig configures a Network. The zero value is a network of 5,000 accounts at 400 events/s from the start of
// 2026.
type NetworkConfig struct {
	// Seed chooses the history: the same seed and configuration give the same bytes.
	Seed uint64

	// Accounts is the number of accounts at any time. Zero: 5,000. A new account replaces a deleted one.
	Accounts int

	// StartUS is the time of the first event, unix µs. Zero: 2026-01-01T00:00:00Z.
	StartUS int64

	// RatePerSec sets the distance of events, ±50 %. Zero: 400, the average of the real network. At most 500,000, as
	// times are whole µs and strictly increase.
	RatePerSec float64

	// Churn multiplies the frequency of rare events: account, identity and sync events, late commits of deleted
	// accounts, odd records. Zero: 1, once in 300 to 10,000 events each.
	Churn float64

	// FutureTIDs is the share of creates whose rkey is a TID one to ten years ahead of its event, as from clients with
	// wrong clocks. Zero: none.
	FutureTIDs float64

	// MaxRkey is the length of the longest record keys, up to the protocol's 512. Zero: 255, the most that a segment
	// holds (real servers drop records with longer keys); longer ones are for servers without an archive.
	MaxRkey int
}

// defaultStart is 2026-01-01T00:00:00Z: fixed, so that the zero configuration is always the same network.
var defaultStart = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()

func (c NetworkConfig) withDefaults() NetworkConfig {
	if c.Accounts <= 0 {
		c.Accounts = 5000
	}
	if c.StartUS == 0 {
		c.StartUS = defaultStart
	}
	if c.RatePerSec <= 0 {
		c.RatePerSec = 400
	}
	c.RatePerSec = min(c.RatePerSec, 500_000)
	if c.Churn <= 0 {
		c.Churn = 1
	}
	if c.MaxRkey <= 0 {
		c.MaxRkey = 255
	}
	c.MaxRkey = min(c.MaxRkey, 512)
	return c
}

// Network generates the events of a synthetic network. It isn't safe for concurrent use.
type Network struct {
	cfg    NetworkConfig
	r      rng
	spread uint64
	gap    int // mean µs between events

	seq uint64
	now int64

	accounts []account
	keptIDs  []int // accounts whose repos are known exactly
	hidden   []int // accounts that are deactivated, suspended or taken down
	dead     []deadAccount
	posts    attention
	names    []string

	queue  []Event // the rest of a commit with several operations
	resync *resync // remaining rows after a sync

	w, t cborw // scratch
}

// NewNetwork returns a network. Its cost is the accounts' DIDs: a million take 0.1 s and 150 MB.
func NewNetwork(cfg NetworkConfig) *Network {
	cfg = cfg.withDefaults()
	n := &Network{
		cfg:   cfg,
		r:     rng{mix(cfg.Seed ^ 0x77656674)},
		gap:   max(int(1e6/cfg.RatePerSec), minGap),
		now:   cfg.StartUS - 1,
		names: []string{"self"},
		t:     cborw{make([]byte, 0, 4096)},
	}
	// Near the golden section of the slots and coprime to their number, so that adjacent popularity ranks are in
	// distant slots.
	n.spread = uint64(float64(cfg.Accounts)*0.618) | 1
	for gcd(n.spread, uint64(cfg.Accounts)) != 1 {
		n.spread += 2
	}
	// At most half, because full accounts write nothing.
	kept := min(max(cfg.Accounts/keptShare, keptMin), keptMax, cfg.Accounts/2)
	stride := cfg.Accounts / max(kept, 1)
	n.accounts = make([]account, cfg.Accounts)
	for i := range n.accounts {
		keep := len(n.keptIDs) < kept && i%stride == stride-1
		if keep {
			n.keptIDs = append(n.keptIDs, i)
		}
		n.accounts[i] = n.newAccount(keep)
	}
	n.posts.seed(n)
	return n
}

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// AdvanceTo moves the network's clock forward: the next event is at us (unix µs) or later. The result is deterministic
// only if us is a function of the events, unlike the wall clock.
func (n *Network) AdvanceTo(us int64) {
	n.now = max(n.now, us-1)
}

// Now returns the time of the last event, unix µs.
func (n *Network) Now() int64 { return n.now }

// Events returns the network's next k events.
func (n *Network) Events(k int) []Event {
	out := make([]Event, k)
	for i := range out {
		out[i] = n.Next()
	}
	return out
}

// minGap is the smallest mean distance of two events in µs, so that half of it is at least 1.
const minGap = 2

// Next returns the network's next event.
func (n *Network) Next() Event {
	n.seq++
	if n.seq == 1 {
		n.now++
	} else {
		// Between half and one and a half times the mean, which is at least 2 µs: always positive.
		n.now += int64(n.gap/2 + n.r.n(n.gap) + 1 - n.gap&1)
	}
	e := n.generate()
	e.Seq = n.seq
	e.TimeUS = n.now
	return e
}

// Chances of the rare events, as one in so many. Identity and account events are each below 1 % of the real stream;
// syncs are rarer, and here frequent enough that a test of 20,000 events sees some.
const (
	identityEvery = 300
	accountEvery  = 500
	syncEvery     = 5000
	lateEvery     = 10_000
	oddEvery      = 1000

	// otherDuringResync: one event in this many during a resync is another account's. Jetstream orders events only
	// within an account.
	otherDuringResync = 8
)

// rare returns true once in every, times Churn.
func (n *Network) rare(every int) bool {
	hi, _ := bits.Mul64(n.r.u64(), uint64(every)<<16)
	return float64(hi) < n.cfg.Churn*(1<<16)
}

func (n *Network) generate() Event {
	if len(n.queue) > 0 {
		e := n.queue[0]
		n.queue = n.queue[1:]
		return e
	}
	if n.resync != nil && !n.r.one(otherDuringResync) {
		return n.resyncRow()
	}
	if n.rare(identityEvery) {
		return n.identityEvent()
	}
	if n.rare(accountEvery) {
		return n.accountEvent()
	}
	if n.resync == nil && n.rare(syncEvery) {
		if e, ok := n.syncEvent(); ok {
			return e
		}
	}
	if len(n.dead) > 0 && n.rare(lateEvery) {
		return n.lateCommit()
	}
	return n.commit()
}
