package replica

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path"
	"strconv"
	"sync"
	"time"

	"github.com/superfly/ltx"

	"weft.dev/weft/db/panics"
	"weft.dev/weft/db/replica/config"
	"weft.dev/weft/humanize"
)

// leaseSub is the directory of the leases beneath a replica's path: PATH/lease/GENERATION, 16 hexadecimal digits.
const leaseSub = "lease"

// The holder renews a lease by writing it again. No clock of one machine is compared with a clock of another: the
// holder measures how long its renewals fail, and another weft measures how long the lease stays the same, each by its
// own clock.
type leaseTimes struct {
	renew   time.Duration // between renewals
	request time.Duration // limits each renewal
	suspend time.Duration // after this time without a renewal, the holder sends nothing and cancels its uploads
	expire  time.Duration // after this time without a change, the lease is free; suspend and a request's time
}

// defaultLeaseTimes tolerate an outage of the store of half a minute. A second machine waits for 45 seconds.
// Each renewal costs a write: 5,760 a day.
var defaultLeaseTimes = leaseTimes{renew: 15 * time.Second, request: 15 * time.Second, suspend: 30 * time.Second,
	expire: 45 * time.Second}

// leaseRecord names the process that writes to a replica. The record with the highest generation is valid. One holder
// creates a generation, on the condition that it does not exist, and no other process writes it. Generations are never
// removed, so that a holder that was paused for any time finds the next one by name.
type leaseRecord struct {
	Generation uint64    `json:"generation"`
	Instance   string    `json:"instance"` // of the index; empty: there is none yet
	Holder     string    `json:"holder"`   // a data directory on a machine
	Process    string    `json:"process"`
	Host       string    `json:"host"`
	Renewals   uint64    `json:"renewals"`
	Renewed    time.Time `json:"renewed"` // by the holder's clock, for people
	Released   bool      `json:"released"`
	// From is the newest transaction in the replica when the holder took it; 0: none, or unknown.
	From       ltx.TXID `json:"from_txid"`
	NewestTXID ltx.TXID `json:"newest_txid"`     // newest file of level 0 that the holder has uploaded; 0: none yet
	Checksum   string   `json:"newest_checksum"` // at its end, in hexadecimal
}

// leaseBytes is the constant length of a record: a reader of a record that is overwritten in place never sees a shorter
// one.
const leaseBytes = 1024

func (r leaseRecord) encode() ([]byte, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	return append(text, append(bytes.Repeat([]byte(" "), max(0, leaseBytes-1-len(text))), '\n')...), nil
}

// found is the newest lease of a replica.
type found struct {
	leaseRecord
	text string // as stored
	mine bool   // belongs to this data directory
}

// WriterError means that another weft writes to the replica, or has written to it.
type WriterError struct {
	Where   string // the replica
	Host    string // of the other; empty: unknown
	Why     string
	Remains string // the restore points; empty: not checked
	Both    bool   // both have written, so neither can use this place
	Do      string
	Said    string // the whole message, from an earlier process; empty: made from the fields
}

func (e *WriterError) Error() string {
	if e.Said != "" {
		return e.Said
	}
	text := fmt.Sprintf("the replica %s %s", e.Where, e.Why)
	if e.Host != "" {
		text += fmt.Sprintf(" (it runs on %s)", e.Host)
	}
	if e.Remains != "" {
		text += "; " + e.Remains
	}
	return text + ". " + e.Do
}

// fenced reports whether an error forbids further writes to the replica.
func fenced(err error) bool {
	var foreign *ForeignError
	var writer *WriterError
	return errors.As(err, &foreign) || errors.As(err, &writer)
}

// errOverdue means that the holder of a lease cannot know whether it still has the lease.
var errOverdue = errors.New("the lease of the replica was not renewed")

// lease is the right of one process to write to a replica.
type lease struct {
	objects config.Objects
	where   string
	self    leaseRecord // who we are
	times   leaseTimes
	logger  *slog.Logger
	// state adds the index's state to a renewal.
	state func(*leaseRecord)
	// onLost is called once, when another process has the lease.
	onLost func(error)

	mu         sync.Mutex
	generation uint64 // 0: none
	renewals   uint64
	renewed    time.Time // when the newest renewal began
	lost       error
	next       leaseRecord        // the lease that replaced this one; zero: not lost
	stop       context.CancelFunc // of renewing; nil: not begun
	stopped    chan struct{}
}

// newest returns the lease with the highest generation; nil: there is none.
func (l *lease) newest(ctx context.Context) (*found, error) {
	names, err := l.objects.List(ctx, leaseSub)
	if err != nil {
		return nil, err
	}
	last := uint64(0)
	for _, name := range names {
		if n, err := strconv.ParseUint(name, 16, 64); err == nil && len(name) == 16 {
			last = max(last, n)
		}
	}
	if last == 0 {
		return nil, nil
	}
	return l.read(ctx, last)
}

func leaseName(generation uint64) string {
	return path.Join(leaseSub, fmt.Sprintf("%016x", generation))
}

// read reads a generation; nil: absent. A record that cannot be decoded is still being created.
func (l *lease) read(ctx context.Context, generation uint64) (*found, error) {
	text, err := l.objects.Read(ctx, leaseName(generation))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	f := &found{text: string(text)}
	_ = json.Unmarshal(text, &f.leaseRecord)
	f.Generation = generation
	f.mine = f.Holder != "" && f.Holder == l.self.Holder
	return f, nil
}

// watch waits until the lease is free. It returns a WriterError when the lease changes, as each renewal does, or when
// the signature changes: the other state that changes while another process writes to the replica.
func (l *lease) watch(ctx context.Context, f *found, signature func(context.Context) (string, error)) error {
	look := func() (string, string, error) {
		now, err := l.newest(ctx)
		if err != nil {
			return "", "", err
		}
		more, err := signature(ctx)
		if now == nil {
			return more, "", err
		}
		return now.text + more, now.Host, err
	}
	was, host, err := look()
	if err != nil {
		return err
	}
	if f != nil && f.text != "" {
		host = f.Host
	}
	l.logger.Info("another weft has written to the replica; waiting to see whether it still does", "replica", l.where,
		"host", host, "for", l.times.expire)
	ticker := time.NewTicker(l.times.expire / 9)
	defer ticker.Stop()
	for began := time.Now(); time.Since(began) < l.times.expire; {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
		is, host, err := look()
		if err != nil {
			return err
		}
		if is != was {
			return l.heldBy(host)
		}
	}
	return nil
}

func (l *lease) heldBy(host string) error {
	return &WriterError{Where: l.where, Host: host,
		Why: "is in use by another weft; this one has changed nothing in it",
		Do: fmt.Sprintf("To move this index here, stop the other weft: once it has stopped, or is silent for %s, the "+
			"next start here takes over. If it has another index, give this one its own path in litestream.yml",
			l.times.expire)}
}

// acquire takes the lease after f, which is free or our own, and begins to renew it.
func (l *lease) acquire(ctx context.Context, f *found) error {
	l.mu.Lock()
	held := l.generation > 0
	l.mu.Unlock()
	if held {
		return l.check(ctx)
	}
	began := time.Now()
	generation := uint64(1)
	renewals := uint64(1)
	var err error
	if f != nil && f.mine {
		generation = f.Generation
		renewals = f.Renewals + 1
		err = l.put(ctx, generation, renewals, false)
	} else {
		if f != nil {
			generation = f.Generation + 1
		}
		var text []byte
		text, err = l.record(generation, renewals, false).encode()
		if err == nil {
			err = l.objects.Create(ctx, leaseName(generation), text)
		}
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("replica: acquire the lease: %w", err)
	}
	now, err := l.newest(ctx)
	if err != nil {
		return fmt.Errorf("replica: acquire the lease: %w", err)
	}
	if now == nil || now.Generation != generation || now.Process != l.self.Process {
		return l.heldBy(cmp.Or(now, &found{}).Host)
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	l.mu.Lock()
	l.generation = generation
	l.renewals = renewals
	l.renewed = began
	l.stop = stop
	l.stopped = make(chan struct{})
	l.mu.Unlock()
	go func() {
		defer panics.Log(l.logger, "replica: lease")
		l.run(running)
	}()
	return nil
}

// record returns the record of a renewal.
func (l *lease) record(generation, renewals uint64, released bool) leaseRecord {
	r := l.self
	r.Generation = generation
	r.Renewals = renewals
	r.Renewed = time.Now().UTC().Truncate(time.Millisecond)
	r.Released = released
	l.state(&r)
	return r
}

func (l *lease) put(ctx context.Context, generation, renewals uint64, released bool) error {
	text, err := l.record(generation, renewals, released).encode()
	if err != nil {
		return err
	}
	return l.objects.Write(ctx, leaseName(generation), text)
}

// run renews until ctx ends or the lease is lost.
func (l *lease) run(ctx context.Context) {
	defer close(l.stopped)
	timer := time.NewTimer(l.times.renew)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		request, cancel := context.WithTimeout(ctx, l.times.request)
		err := l.renew(request)
		cancel()
		switch {
		case ctx.Err() != nil || fenced(err):
			return
		case err != nil:
			l.logger.Debug("cannot renew the lease of the replica", "err", err)
			timer.Reset(l.times.renew / 5)
		default:
			timer.Reset(l.times.renew)
		}
	}
}

// renew writes the lease again, unless another process has it.
func (l *lease) renew(ctx context.Context) error {
	began := time.Now()
	if err := l.check(ctx); err != nil && !errors.Is(err, errOverdue) {
		return err
	}
	l.mu.Lock()
	generation := l.generation
	l.mu.Unlock()
	own, err := l.read(ctx, generation)
	if err != nil {
		return err
	}
	// another process has this record with a copy of the data directory, or in a store without conditions
	if own != nil && own.Process != "" && own.Process != l.self.Process {
		return l.lose(own.leaseRecord)
	}
	l.mu.Lock()
	l.renewals++
	renewals := l.renewals
	l.mu.Unlock()
	if err := l.put(ctx, generation, renewals, false); err != nil {
		return err
	}
	l.mu.Lock()
	l.renewed = began
	l.mu.Unlock()
	return nil
}

// check reports whether another process has the lease. It costs one request for a file that does not exist. A machine
// can't see on its clock that it was paused, so the check precedes each upload.
func (l *lease) check(ctx context.Context) error {
	l.mu.Lock()
	generation := l.generation
	lost := l.lost
	l.mu.Unlock()
	if lost != nil {
		return lost
	}
	if generation == 0 {
		return errors.New("replica: the lease is not acquired yet")
	}
	next, err := l.read(ctx, generation+1)
	if err != nil {
		return fmt.Errorf("replica: read the lease: %w", err)
	}
	if next != nil {
		return l.lose(next.leaseRecord)
	}
	return l.overdue()
}

// overdue returns an error while the lease may have expired for others.
func (l *lease) overdue() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lost != nil {
		return l.lost
	}
	if since := time.Since(l.renewed); since > l.times.suspend {
		return fmt.Errorf("%w for %s: uploads wait until it is", errOverdue, humanize.Duration(since))
	}
	return nil
}

// lose notes that another process has the lease.
func (l *lease) lose(other leaseRecord) error {
	l.mu.Lock()
	if l.lost != nil {
		defer l.mu.Unlock()
		return l.lost
	}
	l.lost = &WriterError{Where: l.where, Host: other.Host,
		Why: "was taken over by another weft; this one no longer writes to it",
		Do:  "Queries continue here. Stop this weft, or give it its own path in litestream.yml"}
	lost := l.lost
	l.next = other
	l.mu.Unlock()
	l.onLost(lost)
	return lost
}

// bound ends a context when the lease may have expired, so that no request of this holder arrives after another holder
// has begun.
func (l *lease) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		ticker := time.NewTicker(l.times.suspend / 10)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-done:
				return
			case <-ticker.C:
			}
			if err := l.overdue(); err != nil {
				cancel(err)
				return
			}
		}
	}()
	var once sync.Once
	return ctx, func() {
		once.Do(func() { close(done) })
		cancel(nil)
	}
}

// release ends the renewals. With free, another process may take the lease at once.
func (l *lease) release(ctx context.Context, free bool) error {
	l.mu.Lock()
	stop := l.stop
	generation := l.generation
	renewals := l.renewals + 1
	lost := l.lost
	l.stop = nil
	l.generation = 0
	l.mu.Unlock()
	var err error
	if stop != nil {
		stop()
		<-l.stopped
		if free && lost == nil {
			err = l.put(ctx, generation, renewals, true)
		}
	}
	return errors.Join(err, l.objects.Close())
}
